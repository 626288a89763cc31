"""What leaves the project for a phone or a camera: SavedModels and TensorFlow Lite files, measured before they are let go."""
