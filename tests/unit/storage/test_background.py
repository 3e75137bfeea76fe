from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tiffin.storage.background import Background
from tiffin.storage.trash import Trash


def test_jobs_run_in_order_and_a_failing_one_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    background = Background()
    done: list[int] = []
    background.do(lambda: done.append(1))
    background.do(lambda: 1 // 0)
    background.do(lambda: done.append(2))
    assert background.wait(10)
    background.close()
    assert done == [1, 2]
    assert "background job failed" in caplog.text


def test_closing_forgets_what_has_not_begun() -> None:
    background = Background()
    running, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        running.set()
        go_on.wait(10)

    background.do(first)
    background.do(lambda: done.append(2))
    running.wait(10)
    closer = threading.Thread(target=background.close)
    closer.start()
    while not background.closing:
        pass
    go_on.set()
    closer.join()
    background.do(lambda: done.append(3))
    assert done == []


def test_a_thrown_tree_is_gone_at_once_and_deleted_later(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b/c").mkdir(parents=True)
    (tree / "a/f").write_text("x")
    background = Background()
    trash = Trash(str(tmp_path / "trash"), background)
    trash.throw(str(tree))
    assert not tree.exists()
    trash.throw(str(tree))
    assert background.wait(10)
    background.close()
    trash.close()
    assert list((tmp_path / "trash").iterdir()) == []


def test_the_trash_of_an_earlier_process_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "trash/7/a").mkdir(parents=True)
    background = Background()
    trash = Trash(str(tmp_path / "trash"), background)
    assert background.wait(10)
    background.close()
    trash.close()
    assert list((tmp_path / "trash").iterdir()) == []
