"""Copies stdin to stderr, without the information and warning lines of C++ libraries.

`pipeline.console.without_chatter` runs it as a separate process between another process and its stderr. A thread would not do: an
abort ends all threads, and the last lines before an abort matter most. It runs for a second or two, so it imports little.

  python stderr_filter.py END   copies line by line; the text END is not copied, and closes stdout to acknowledge it
"""

import os
import re
import sys

# What TensorFlow's C++ libraries write whatever the log level: dated information and warnings, and what says that these come.
CHATTER = re.compile(rb"[IW]0000 \d{2}:\d{2}:[\d.]+ |WARNING: All log messages before absl::|INFO: |fully_quantize: ")
_LINE = re.compile(rb"[^\r\n]*[\r\n]+")


def pass_on(text: bytes, end_of_input: bool) -> bytes:
    """Writes the lines of `text` that are not filtered to stderr; returns the incomplete last line."""
    rest = _LINE.sub(_written, text)
    if end_of_input:
        _written(re.match(rb"(?s).*", rest))
        return b""
    return rest


def _written(line: re.Match) -> bytes:
    left = b"" if CHATTER.match(line[0]) else line[0]
    while left:
        left = left[os.write(2, left) :]
    return b""


def main() -> None:
    end, held = sys.argv[1].encode(), b""
    while chunk := os.read(0, 1 << 16):
        held += chunk
        if end in held:  # it is written whole, but may arrive in two parts
            before, _, held = held.partition(end)
            pass_on(before, True)
            os.close(1)
        held = pass_on(held, False)
    pass_on(held, True)


if __name__ == "__main__":
    main()
