"""Near-duplicate clips: the same recording re-encoded, resized, mirrored or trimmed. No TensorFlow here."""
