"""What `commands.predict` knows: sources of frames, models of every format, answers, and their pictures."""

import pipeline.video.decode  # noqa: F401  before anything imports OpenCV, which reads what this sets when it loads
