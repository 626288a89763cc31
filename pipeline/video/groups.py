"""Leaves out the parts of a video that nothing needs, so that a few segments of a long recording do not cost the whole of it.

A group of pictures is a keyframe with the packets up to the next one. It is read but not decoded if nothing needs its time or
that of the group before or after. The margin is for frames of an open group, which refer to the group before, and for the end of
the last frame before a gap, which is the start of the next frame.

Invariant: the frames that are needed, and their times, are those of decoding everything. So a group is decoded where timestamps
are absent or out of order, and so are the first one, from which times count, and the last one, which tells where the video ends.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from math import inf
from typing import NamedTuple

import av

from .container import Gap, Packets

__all__ = ["leave_out_groups"]

GROUP_BYTES = 2**26  # of packets that wait; a longer group is decoded


class _Group(NamedTuple):
    """first, last: earliest and latest presentation timestamp; known: whether they tell when all of the group is shown."""

    packets: list[av.Packet | None]
    first: int
    last: int
    known: bool


def _group(packets: list[av.Packet | None], before: int | None) -> _Group:
    """before: timestamp of the keyframe before, which no frame of this group may precede; None if it is unknown."""
    times = [None if packet is None or packet.is_discard else packet.pts for packet in packets]
    if before is None or None in times or not packets[0].is_keyframe:
        return _Group(packets, 0, 0, False)
    return _Group(packets, min(times), max(times), len(set(times)) == len(times) and before < min(times))


def _groups(packets: Packets) -> Iterator[_Group]:
    waiting: list[av.Packet | None] = []
    size, before = 0, None
    for packet in packets:
        keyframe = packet is not None and packet.size > 0 and packet.is_keyframe
        if waiting and (keyframe or size > GROUP_BYTES):
            yield _group(waiting, before if keyframe else None)
            before = waiting[0].pts
            waiting, size = [], 0
        waiting.append(packet)
        size += 0 if packet is None else packet.size
    if waiting:
        yield _group(waiting, None)


def leave_out_groups(packets: Packets, needed: Callable[[int, float], bool]) -> Iterator[av.Packet | Gap | None]:
    """The packets without those of groups that are not needed, with a Gap where some were left out.

    needed: whether anything from the first timestamp to the second one is; called when the packets before have been decoded.
    """
    groups = chain(_groups(packets), (None, None))
    this, following = next(groups), next(groups)
    needed_before = needed_here = True
    left_out = 0
    while this is not None:
        after = next(groups)
        until = inf if after is None or not after.known else after.first
        needed_next = following is None or not following.known or needed(following.first, until)
        if needed_before or needed_here or needed_next:
            if left_out:
                yield Gap(left_out, this.packets[0].pts)
                left_out = 0
            yield from this.packets
        else:
            left_out += len(this.packets)
        needed_before, needed_here = needed_here, needed_next
        this, following = following, after
