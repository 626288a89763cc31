import pytest

from pipeline.inspection.groups import candidate, date_in, folder_of, keys_by, person_in, stem_of, suggest


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("pour/kitchen_cam1_003.mp4", "kitchen_cam1"),
        ("pour/kitchen_cam1_004.mp4", "kitchen_cam1"),
        ("stir/Copy of kitchen_cam1_003.mp4", "kitchen_cam1"),
        ("stir/kitchen_cam1_003 (2).mp4", "kitchen_cam1"),
        ("stir/kitchen_cam1_003_flipped.mp4", "kitchen_cam1"),
        ("stir/kitchen_cam1_003 - Kopie.mp4", "kitchen_cam1"),
        ("v_Archery_g01_c02.avi", "v_Archery_g01"),
        ("dinner take 2.mp4", "dinner"),
        ("walk (3).mp4", "walk"),
        ("Bogenschießen cam07_001.mp4", "Bogenschießen cam07"),
        ("IMG_20240501_123456.mp4", "IMG_20240501"),
        ("20240501-1.mp4", "20240501"),
        ("aircraft 12.mp4", "aircraft"),  # the c before a number is a clip's only after a separator
        # What a device gives to all its files is no scene.
        ("jump/12.mp4", None),
        ("jump/video_12.mp4", None),
        ("jump/IMG_0012.MOV", None),
        ("jump/WhatsApp Video 3490.mp4", None),
    ],
)
def test_stem(path, stem):
    assert stem_of(path) == stem


@pytest.mark.parametrize(
    ("path", "date"),
    [
        ("a/2024-05-01 run.mp4", "2024-05-01"),
        ("a/IMG_20240501_123456.mp4", "2024-05-01"),
        ("20240501/run.mp4", "2024-05-01"),
        ("a/20240501123456.mp4", "2024-05-01"),
        ("a/2024_05_01.mp4", "2024-05-01"),
        ("2023-01-01/2024-05-01.mp4", "2024-05-01"),
        ("a/2024-13-01.mp4", None),
        ("a/2024-02-30.mp4", None),
        ("a/20240501999.mp4", None),
        ("a/120240501.mp4", None),
        ("a/2024-0501.mp4", None),
    ],
)
def test_date(path, date):
    assert date_in(path) == date


@pytest.mark.parametrize(
    ("path", "person"),
    [
        ("jump/p01_a.mp4", "person1"),
        ("jump/person12.mp4", "person12"),
        ("jump/subject_3-walk.mp4", "person3"),
        ("actor-07/x.mp4", "person7"),
        ("Actor 07/x.mp4", "person7"),
        ("S001C001P007R001A001.avi", "person7"),
        ("person1/p2.mp4", "person2"),
        ("jump/clip01.mp4", None),
        ("jump/720p30.mp4", None),
        ("jump/step1080p.mp4", None),
        ("jump/x.mp4", None),
    ],
)
def test_person(path, person):
    assert person_in(path) == person


def test_folders_without_those_of_class_and_split():
    path = "train/jump/monday/cam1/a.mp4"
    assert [folder_of(path, "jump", level) for level in range(3)] == ["monday", "monday/cam1", None]


def labels(*paths: str) -> dict[str, str]:
    return {path: path.split("/")[0] for path in paths}


def takes(label: str, scenes: int, clips: int) -> list[str]:
    return [f"{label}/{label}{chr(97 + scene)}_{clip}.mp4" for scene in range(scenes) for clip in range(clips)]


def test_candidate_that_every_class_can_be_split_by():
    known = labels(*takes("jump", 3, 2), *takes("run", 4, 3))
    one = candidate("stem", keys_by("stem", known), known)
    assert one.fits
    assert (one.named, one.groups, one.largest, one.largest_group) == (18, 7, 3, "runa")
    assert (one.fewest, one.fewest_class) == (3, "jump")
    assert one.examples[0] == "runa: runa_0.mp4, runa_1.mp4, ..."
    assert one.reason == "18 of 18 names state one, the largest group holds 3, and every class has at least 3"


def test_too_few_groups_of_one_class_do_not_fit():
    known = labels(*takes("jump", 2, 2), *takes("run", 4, 3))
    one = candidate("stem", keys_by("stem", known), known)
    assert not one.fits
    assert one.reason == "class jump would have only 2 groups, and a split needs 3"


def test_videos_without_a_group_are_groups_of_their_own():
    known = labels(*takes("jump", 2, 2), "jump/12.mp4")
    one = candidate("stem", keys_by("stem", known), known)
    assert (one.named, one.groups, one.fewest, one.fits) == (4, 2, 3, True)


def test_a_group_of_most_videos_does_not_fit():
    known = labels(*(f"jump/gym_{number}.mp4" for number in range(6)), *takes("jump", 3, 1))
    one = candidate("stem", keys_by("stem", known), known)
    assert (one.fits, one.reason) == (False, "one group (gym) would hold 6 of 9 videos")


def test_names_that_seldom_state_a_group_do_not_fit():
    known = labels(*takes("jump", 1, 2), *(f"jump/{number}.mp4" for number in range(5)))
    one = candidate("stem", keys_by("stem", known), known)
    assert (one.fits, one.reason) == (False, "only 2 of 7 names state one")


def test_no_candidate_if_no_two_videos_share_a_group():
    known = labels("jump/a_1.mp4", "jump/b_1.mp4")
    assert candidate("stem", keys_by("stem", known), known) is None
    assert candidate("date", keys_by("date", known), known) is None


def test_folders_of_the_level_that_fits():
    paths = [f"jump/site/room{room}/{clip}.mp4" for room in range(3) for clip in range(2)] + ["jump/other/room1/a.mp4"]
    assert keys_by("folder", labels(*paths))["jump/site/room2/1.mp4"] == "site/room2"


def test_a_person_is_suggested_before_a_date():
    known = labels(
        *(f"jump/2024-05-0{day}_p0{person}_{clip}.mp4" for day in (1, 2, 3) for person in (1, 2, 3) for clip in (1, 2))
    )
    candidates = [candidate(by, keys_by(by, known), known) for by in ("date", "person", "stem")]
    assert [one.fits for one in candidates] == [True, True, True]
    assert suggest(candidates).by == "person"
    assert suggest([]) is None
