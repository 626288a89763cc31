"""What is in a folder or an archive of videos, what is wrong with it, and a listing to train from. No TensorFlow here."""
