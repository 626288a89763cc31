"""The commands of docs/serving.md, as written there, with an MLflow server on this machine."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.params import parse_params
from pipeline.tracking import begin_run, log_classifier
from pipeline.video.decode import decode_clip
from tests.extracting import write_clip
from tests.servers import free_port, wait_for
from tests.test_registered_model import DESCRIPTION, expected, frames, saved_model  # noqa: F401
from tests.tracking_store import REPOSITORY, composed, empty_database, place, store  # noqa: F401


def documented() -> tuple[str, str]:
    """The commands that serve, and the one that asks."""
    serve, ask = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "docs/serving.md").read_text(), re.DOTALL)
    return serve, ask


def shell(command: str, port: int, **options) -> subprocess.Popen:
    """Runs a documented command as its own process group, on another port than the documented one."""
    assert "5001" in command
    return subprocess.Popen(["bash", "-c", command.replace("5001", str(port))], start_new_session=True, text=True, **options)


@pytest.mark.slow
@pytest.mark.xdist_group("tracking_server")
def test_the_documented_commands_serve_a_clip(composed, store, saved_model):
    params = parse_params(composed)
    with begin_run(params, Path("models/run.json")) as run:
        assert log_classifier(run, saved_model, DESCRIPTION, params).name == "sample-a0"
    write_clip(store / "clip.avi", 20, 40)
    (store / ".venv").symlink_to(Path(sys.executable).parent.parent)
    environment = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "PYTHONPATH")}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "TF_NUM_INTRAOP_THREADS": "1", "PATH": os.defpath}
    serve, ask = documented()
    port = free_port()

    def answer(command: str) -> dict:
        asking = shell(command, port, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = asking.communicate(timeout=120)
        assert asking.returncode == 0, err
        return json.loads(out)

    with open(store / "log", "w") as log:
        server = shell(serve, port, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, store / "log")
        (row,) = answer(ask)["predictions"]
        images = decode_clip(store / "clip.avi", DESCRIPTION.fps, DESCRIPTION.size).images
        assert list(row) == DESCRIPTION.classes
        np.testing.assert_allclose(list(row.values()), expected(images[None])[0], rtol=1e-5)

        (store / "clip.avi").write_text("not a video\n" * 10_000)
        refused = answer(ask)
        assert refused["error_code"] == "INVALID_PARAMETER_VALUE"
        assert "FFmpeg cannot read it as mov, mp4" in refused["message"]
        assert len(refused["message"]) < 1000  # without the video

        (store / "frames.json").write_text(json.dumps({"inputs": frames().tolist()}))
        rows = answer(re.sub(r"^printf.*\| *\n", "", ask, flags=re.DOTALL).replace("@-", "@frames.json"))["predictions"]
        np.testing.assert_allclose([list(row.values()) for row in rows], expected(frames()), rtol=1e-5)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
