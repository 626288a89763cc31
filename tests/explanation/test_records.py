"""Single clips are found by name, whatever shard they are in."""

import pytest

from pipeline.console import UserError
from pipeline.explanation.records import Records
from tests.explanation.clips import grey_jpegs, write_records

CLIPS = {f"a/{number}.avi": (number % 2, [10 * number, 10 * number + 5]) for number in range(7)}


def test_each_clip_is_read_by_its_name(tmp_path):
    records = Records(write_records(tmp_path, "test", CLIPS, shards=3), CLIPS)
    for clip, (_, levels) in CLIPS.items():
        record = records.read(clip)
        assert record.jpegs == grey_jpegs(levels) and record.seconds == [0, 0.2]


def test_records_of_other_clips_are_refused(tmp_path):
    files = write_records(tmp_path, "test", CLIPS)
    with pytest.raises(UserError, match="has 7 clips of a split with 6"):
        Records(files, list(CLIPS)[:6])
    renamed = [clip.replace("a/3", "b/3") for clip in CLIPS]
    with pytest.raises(UserError, match="in the place of"):
        for clip in renamed:
            Records(files, renamed).read(clip)
