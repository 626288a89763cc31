"""What finetune states about a classifier before it is trained."""

from pipeline.params import parse_params
from pipeline.training.outputs import describe_classifier
from tests.test_params import composed


def test_a_classifier_that_is_shared_holds_no_credentials():
    weights = "https://user:secret@example.org/weights.tar.gz?token=abc"
    params = parse_params(composed("data=ucf101_subset", f"model.weights='{weights}'"))
    assert params.model.weights == weights
    text = describe_classifier(params.model, params.finetune, params.frames, 2, ["a", "b"]).model_dump_json()
    assert "https://example.org/weights.tar.gz" in text and "secret" not in text and "abc" not in text
