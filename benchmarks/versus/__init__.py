"""Measures this pipeline against the networks of other libraries that a user could fine-tune instead.

`clock` and `others` run in the environment of requirements.lock too, which has PyTorch and nothing of this project.
"""
