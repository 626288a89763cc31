"""What `python -m commands.doctor` looks at before a long run, a module a subject. Nothing here imports TensorFlow or MLflow."""
