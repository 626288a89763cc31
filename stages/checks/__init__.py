"""What `python -m stages.doctor` looks at before a long run, one module a subject. Nothing here imports TensorFlow or MLflow."""
