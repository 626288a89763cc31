"""Copies stdin to stderr, without the information and warning lines of C++ libraries.

`pipeline.console.without_chatter` runs it as a separate process between a process and its stderr. A thread would not suffice: an
abort ends all threads, and the last lines before an abort matter most. It imports little, because it runs for a second or two.

  python stderr_filter.py END   copies line by line; the text END is not copied, and closes stdout to acknowledge it
"""

import os
import re
import sys

# What TensorFlow's C++ libraries write at any log level: dated information and warnings, and their announcement.
CHATTER = re.compile(rb"[IW]0000 \d{2}:\d{2}:[\d.]+ |WARNING: All log messages before absl::|INFO: |fully_quantize: ")
_LINE = re.compile(rb"[^\r\n]*[\r\n]+")


def write_lines(text: bytes, end_of_input: bool) -> bytes:
    """Writes the lines of `text` that are not filtered to stderr; returns the incomplete last line."""
    rest = _LINE.sub(_write_unless_filtered, text)
    if end_of_input:
        _write_unless_filtered(re.match(rb"(?s).*", rest))
        return b""
    return rest


def _write_unless_filtered(line: re.Match) -> bytes:
    rest = b"" if CHATTER.match(line[0]) else line[0]
    while rest:
        rest = rest[os.write(2, rest) :]
    return b""


def main() -> None:
    end, buffer = sys.argv[1].encode(), b""
    while chunk := os.read(0, 1 << 16):
        buffer += chunk
        if end in buffer:  # it is written at once, but may arrive in two chunks
            before, _, buffer = buffer.partition(end)
            write_lines(before, True)
            os.close(1)
        buffer = write_lines(buffer, False)
    write_lines(buffer, True)


if __name__ == "__main__":
    main()
