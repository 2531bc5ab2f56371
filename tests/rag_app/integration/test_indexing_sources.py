"""What may be indexed, under which name, ref and commit; and what never is."""

from pathlib import Path

import pytest

from rag_app.db.records import Source
from service_kit.errors import Conflict, ValidationFailed
from tests.support.indexing import Indexer, git, old, running_indexer

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


async def test_names_are_the_folders_and_numbered_where_taken(indexer: Indexer) -> None:
    names = []
    for folder in ("one/src", "two/src", "two/src"):
        old(indexer.root / folder / "a.py", "a = 1\n")
        repository, _ = await indexer.service.register(Source("path", str(indexer.root / folder)))
        names.append(repository.name)
    assert names == ["src", "src-2", "src-2"]
    with pytest.raises(Conflict, match="'src' is taken"):
        await indexer.service.register(Source("path", str(indexer.root)), name="src")


async def test_a_work_tree_says_its_branch_and_commit(indexer: Indexer) -> None:
    git(indexer.root, "init", "-q")
    old(indexer.root / "a.py", "a = 1\n")
    git(indexer.root, "add", ".")
    git(indexer.root, "commit", "-qm", "one")
    head = git(indexer.root, "rev-parse", "HEAD")
    repository, _ = await indexer.index()
    assert (repository.ref, repository.commit) == ("main", head)
    (indexer.root / "a.py").write_text("a = 2\n")
    repository, _ = await indexer.index()
    assert repository.commit == f"{head}-dirty"


async def test_a_ref_that_is_not_checked_out_is_refused(indexer: Indexer) -> None:
    git(indexer.root, "init", "-q")
    old(indexer.root / "a.py", "a = 1\n")
    git(indexer.root, "add", ".")
    git(indexer.root, "commit", "-qm", "one")
    _, job = await indexer.index(ref="other")
    assert job.error is not None
    assert job.error.code == "validation"
    assert "'other' is not checked out" in job.error.message


async def test_a_root_that_is_gone_fails_the_job_and_keeps_the_index(indexer: Indexer) -> None:
    folder = indexer.root / "lib"
    old(folder / "a.py", "a = 1\n")
    repository, _ = await indexer.index(folder)
    folder.rename(indexer.root / "moved")
    _, job = await indexer.service.sync(repository.id, frozenset({repository.id}))
    repository, job = await indexer.finished(job)
    assert job.error is not None
    assert job.error.code == "validation"
    assert len(await indexer.chunks(repository.id)) == 1


async def test_outside_of_the_allowed_roots_nothing_is_registered(indexer: Indexer, tmp_path: Path) -> None:
    with pytest.raises(ValidationFailed, match="ALLOWED_ROOTS"):
        await indexer.service.register(Source("path", str(tmp_path)))
    assert indexer.manifest.all_ids() == frozenset()


async def test_an_index_never_holds_itself(tmp_path: Path) -> None:
    (tmp_path / "root" / "index").mkdir(parents=True)
    async with running_indexer(tmp_path, data_dir=tmp_path / "root" / "index") as indexer:
        old(indexer.root / "a.py", "a = 1\n")
        old(indexer.root / "index" / "logs" / "rag.py", "b = 1\n")
        repository, _ = await indexer.index()
        assert (repository.files, repository.skipped) == (1, {"own_data": 1})
