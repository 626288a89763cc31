from pipeline.sources.imbalance import imbalance


def test_a_fifth_is_enough_and_less_is_rare():
    assert imbalance({"jump": 20, "run": 100}) is None
    assert imbalance({"jump": 19, "run": 100}) == "1 class has less than a fifth of the clips of run (100): jump 19"


def test_the_rarest_come_first_and_an_absent_class_is_rare():
    clips = {"walk": 12, "run": 100, "jump": 7, "hop": 0, "sit": 60}
    expected = "3 classes have less than a fifth of the training clips of run (100): hop 0, jump 7, walk 12"
    assert imbalance(clips, "training clips") == expected
    assert imbalance({}) is None and imbalance({"run": 3}) is None
