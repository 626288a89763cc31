"""The checks of `python -m commands.doctor`, one module per subject. Nothing here imports TensorFlow or MLflow."""
