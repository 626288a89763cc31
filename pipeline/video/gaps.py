"""Skips the groups of pictures that nothing needs, so that a few segments of a long recording do not cost decoding all of it.

A group of pictures (GOP) is a keyframe with the packets up to the next one. It is read but not decoded if neither it nor one of
its neighbours is needed. The neighbours are decoded because frames of an open GOP refer to the group before, and because the last
frame before a gap ends where the next frame starts.

Invariant: the frames that are needed, and their times, are those of decoding everything. Therefore the first group is always
decoded, as times count from it, the last one, as it tells where the video ends, and every group whose timestamps are missing or
out of order.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from math import inf
from typing import NamedTuple

import av

from .container import Gap, Packets

__all__ = ["skip_groups"]

GROUP_BYTES = 2**26  # of packets held in memory; a larger group is decoded


class _Group(NamedTuple):
    """A group of pictures. first: its earliest presentation timestamp; None if its timestamps do not tell when it is shown."""

    packets: list[av.Packet | None]
    first: int | None


def _group(packets: list[av.Packet | None], before: int | None) -> _Group:
    """before: timestamp of the keyframe before, which no frame of this group may precede; None if it is unknown."""
    times = [None if packet is None or packet.is_discard else packet.pts for packet in packets]
    usable = before is not None and None not in times and packets[0].is_keyframe
    ordered = usable and len(set(times)) == len(times) and before < min(times)
    return _Group(packets, min(times) if ordered else None)


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


def skip_groups(packets: Packets, needed: Callable[[int, float], bool]) -> Iterator[av.Packet | Gap | None]:
    """The packets without those of groups that are not needed, with a Gap in place of each run of them.

    needed: whether anything between two timestamps is needed; called when the packets before have been decoded.
    """
    groups = chain(_groups(packets), (None, None))
    group, following = next(groups), next(groups)
    needed_before = needed_here = True
    skipped = 0
    while group is not None:
        after = next(groups)
        until = inf if after is None or after.first is None else after.first
        needed_next = following is None or following.first is None or needed(following.first, until)
        if needed_before or needed_here or needed_next:
            if skipped:
                yield Gap(skipped, group.packets[0].pts)
                skipped = 0
            yield from group.packets
        else:
            skipped += len(group.packets)
        needed_before, needed_here = needed_here, needed_next
        group, following = following, after
