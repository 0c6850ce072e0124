"""A replay table of what the real edge model and the stand-in answered."""

import pytest

from serving.errors import BackendRejectedError
from serving.questions import load_questions
from serving.settings import Settings
from simulator.errors import BadStudyError
from simulator.graded_table import Asking, write_table
from simulator.table import load_table

EDGE, CLOUD = "smollm2-135m-instruct", "pointsman-stand-in"


async def test_a_graded_table_can_be_replayed(tmp_path):
    questions = [q for q in load_questions() if q.question_id.endswith("-001")]
    path, rows = tmp_path / "graded.jsonl", []
    asking = Asking(questions, max_tokens=8, repeats=2)
    await write_table(Settings(), asking, path, on_row=lambda: rows.append(1))
    table = load_table(path, [EDGE, CLOUD])
    assert (len(table), len(rows)) == (6, 6)
    assert [table.domain_names[i] for i in table.domain] == ["arithmetic", "facts", "json"] * 2
    assert table.quality[:, 1].tolist() == [1.0] * 6
    assert set(table.quality[:, 0]) <= {0.0, 1.0}
    assert (table.cost_usd[:, 0] == 0.0).all()
    assert (table.cost_usd[:, 1] > 0.0).all()
    assert path.read_text().count(f"signal:{EDGE}:margin_mean") == 6


async def test_a_table_that_broke_off_is_not_there(tmp_path):
    path = tmp_path / "graded.jsonl"
    with pytest.raises(BackendRejectedError):
        await write_table(
            Settings(), Asking(load_questions()[:1], max_tokens=0), path, on_row=lambda: None
        )
    assert not path.exists()


async def test_a_table_needs_an_edge_and_a_cloud(tmp_path):
    settings = Settings(arms=({"id": "cloud", "tier": "cloud", "backend": "stand_in"},))
    with pytest.raises(BadStudyError, match="edge"):
        await write_table(
            settings, Asking(load_questions()[:1]), tmp_path / "t.jsonl", on_row=lambda: None
        )
