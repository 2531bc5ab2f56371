import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_app.db.manifest import Manifest
from rag_app.db.manifest_files import pack_terms, unpack_terms
from rag_app.db.records import FileRow, FileUpdate, JobError, Progress, Source
from service_kit.errors import Conflict, NotFound, Unavailable


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    manifest = Manifest(tmp_path / "data" / "manifest.sqlite")
    manifest.open()
    yield manifest
    manifest.close()


def indexed(path: str, blob: str, chunks: int = 1, terms: dict[int, int] | None = None) -> FileUpdate:
    return FileUpdate(FileRow(path, blob, "indexed", "python", chunks, "sig"), terms or {})


def register(manifest: Manifest, name: str = "lib") -> str:
    return manifest.register(name, Source("path", f"/code/{name}"))


def scope_of(*identifiers: str) -> frozenset[str]:
    return frozenset(identifiers)


def test_the_same_source_is_the_same_repository_with_its_newest_options(manifest: Manifest) -> None:
    first = manifest.register("lib", Source("path", "/code/lib"))
    second = manifest.register("lib2", Source("path", "/code/lib"), include=["src/**"], wanted_ref="dev")
    assert first == second
    found = manifest.repository(first, manifest.all_ids())
    assert (found.name, found.include, found.wanted_ref) == ("lib2", ("src/**",), "dev")
    assert manifest.name_of(Source("path", "/code/lib")) == "lib2"
    assert manifest.name_of(Source("path", "/code/other")) is None


def test_a_name_belongs_to_one_source(manifest: Manifest) -> None:
    register(manifest)
    with pytest.raises(Conflict, match=r"'lib' is taken by /code/lib"):
        manifest.register("lib", Source("path", "/elsewhere/lib"))
    assert len(manifest.all_ids()) == 1


def test_a_repository_out_of_scope_is_like_an_unknown_one(manifest: Manifest) -> None:
    mine, other = register(manifest, "a"), register(manifest, "b")
    assert [r.id for r in manifest.repositories(scope_of(mine))] == [mine]
    for identifier in (other, "nonsense"):
        with pytest.raises(NotFound, match=identifier):
            manifest.repository(identifier, scope_of(mine))


def test_state_follows_the_jobs(manifest: Manifest) -> None:
    identifier = register(manifest)

    def state() -> str:
        return manifest.repository(identifier, manifest.all_ids()).state

    assert state() == "new"
    job = manifest.jobs.enqueue(identifier)
    assert state() == "indexing"
    assert manifest.jobs.claim() is not None
    assert state() == "indexing"
    manifest.jobs.finish(job.id, "failed", Progress(), JobError("unavailable", "down"))
    assert state() == "failed"
    again = manifest.jobs.enqueue(identifier)
    manifest.jobs.finish(again.id, "succeeded", Progress())
    assert state() == "ready"


def test_current_names_only_what_is_indexed_now(manifest: Manifest) -> None:
    identifier = register(manifest)
    manifest.files.commit(identifier, [indexed("a.py", "b1"), FileUpdate(FileRow("logo.png", "b9", "binary"))])
    manifest.files.commit(identifier, [indexed("a.py", "b2")])
    keys = [
        (identifier, "base", "a.py", "b1"),
        (identifier, "base", "a.py", "b2"),
        (identifier, "other", "a.py", "b2"),
        (identifier, "base", "logo.png", "b9"),
        ("unknown", "base", "a.py", "b2"),
    ]
    assert manifest.current(keys) == {(identifier, "base", "a.py", "b2")}
    assert manifest.current([]) == set()


def test_document_frequencies_follow_changed_and_removed_files(manifest: Manifest) -> None:
    one, two = register(manifest, "one"), register(manifest, "two")
    manifest.files.commit(one, [indexed("a", "b1", 3, {7: 2, 8: 1}), indexed("b", "b2", 1, {7: 1})])
    manifest.files.commit(two, [indexed("a", "b1", 5, {7: 5})])
    both = scope_of(one, two)
    assert manifest.document_frequencies(both, {7, 8, 99}) == ({7: 8, 8: 1}, 9)
    assert manifest.document_frequencies(scope_of(one), {7}) == ({7: 3}, 4)

    manifest.files.commit(one, [indexed("a", "b3", 2, {7: 1, 9: 2})], removed=["b"])
    assert manifest.document_frequencies(scope_of(one), {7, 8, 9}) == ({7: 1, 9: 2}, 2)
    assert manifest.document_frequencies(frozenset(), {7}) == ({}, 0)


def test_no_row_of_a_term_stays_that_no_chunk_has(manifest: Manifest) -> None:
    identifier = register(manifest)
    manifest.files.commit(identifier, [indexed("a", "b1", 1, {7: 1})])
    manifest.files.commit(identifier, [], removed=["a", "never-there"])
    assert manifest._database.rows("SELECT * FROM frequencies") == []
    assert manifest._database.rows("SELECT * FROM file_terms") == []


def test_terms_survive_packing() -> None:
    terms = {0: 1, 2**32 - 1: 70_000, 17: 2}
    assert unpack_terms(pack_terms(terms)) == terms
    assert unpack_terms(pack_terms({})) == {}


def test_files_chunks_and_skipped_are_counted_from_the_rows(manifest: Manifest) -> None:
    identifier = register(manifest)
    left_out = [FileUpdate(FileRow(f"{n}.png", "", "binary")) for n in range(2)]
    manifest.files.commit(identifier, [indexed("a", "b1", 3), *left_out, FileUpdate(FileRow("x", "", "too_large"))])
    found = manifest.repositories(manifest.all_ids())[0]
    assert (found.files, found.chunks, found.skipped) == (1, 3, {"binary": 2, "too_large": 1})


def test_points_that_no_row_names_are_put_down_until_swept(manifest: Manifest) -> None:
    identifier = register(manifest)
    files = manifest.files
    files.will_write(identifier, [("a", "b1"), ("b", "b2")])
    assert files.to_sweep(identifier) == [("a", "b1"), ("b", "b2")]
    files.commit(identifier, [indexed("a", "b1")])
    assert files.to_sweep(identifier) == [("b", "b2")]
    files.commit(identifier, [indexed("a", "b3")])
    assert files.to_sweep(identifier) == [("a", "b1"), ("b", "b2")]
    files.swept(identifier, [("a", "b1"), ("b", "b2")])
    assert files.to_sweep(identifier) == []


def test_a_blob_that_is_current_again_is_not_swept(manifest: Manifest) -> None:
    identifier = register(manifest)
    for blob in ("b1", "b2", "b1"):
        manifest.files.commit(identifier, [indexed("a", blob)])
    assert manifest.files.to_sweep(identifier) == [("a", "b2")]
    manifest.files.will_write(identifier, [("a", "b1")])
    assert ("a", "b1") not in manifest.files.to_sweep(identifier)


def test_a_batch_is_written_whole_or_not_at_all(manifest: Manifest) -> None:
    identifier = register(manifest)
    with pytest.raises(sqlite3.Error):
        manifest.files.commit(identifier, [indexed("a", "b1", 1, {7: 1}), indexed("a", "b2")])
    assert manifest.files.of(identifier) == {}
    assert manifest.document_frequencies(scope_of(identifier), {7}) == ({}, 0)


def test_one_file_row_is_found_by_its_path(manifest: Manifest) -> None:
    identifier = register(manifest)
    manifest.files.commit(identifier, [indexed("a", "b1")])
    assert manifest.files.one(identifier, "base", "a") == indexed("a", "b1").row
    assert manifest.files.one(identifier, "base", "z") is None


def test_a_new_signature_leaves_the_rest_of_a_file_as_it_was(manifest: Manifest) -> None:
    identifier = register(manifest)
    manifest.files.commit(identifier, [indexed("a", "b1", 2, {7: 1}), indexed("b", "b2")])
    manifest.files.refresh(identifier, {"a": "newer"})
    rows = manifest.files.of(identifier)
    assert (rows["a"].signature, rows["a"].blob, rows["b"].signature) == ("newer", "b1", "sig")
    assert manifest.document_frequencies(scope_of(identifier), {7}) == ({7: 1}, 3)


def test_refs_are_the_default_or_the_named_one(manifest: Manifest) -> None:
    one, two = register(manifest, "one"), register(manifest, "two")
    manifest.set_ref(one, "main", "c1", indexed_at=5.0)
    manifest.set_ref(two, "dev", "c2", indexed_at=6.0)
    every = scope_of(one, two)
    assert {(r.repository, r.ref, r.layer, r.commit) for r in manifest.refs(every, None)} == {
        (one, "main", "base", "c1"),
        (two, "dev", "base", "c2"),
    }
    assert [r.repository for r in manifest.refs(every, "dev")] == [two]
    assert [r.repository for r in manifest.refs(every, "c1")] == [one]
    assert manifest.refs(every, "unknown") == []
    assert [r.repository for r in manifest.refs(scope_of(one), None)] == [one]


def test_the_commit_changes_only_when_a_run_is_complete(manifest: Manifest) -> None:
    identifier = register(manifest)
    manifest.set_ref(identifier, "main", "c1", indexed_at=5.0)
    manifest.set_ref(identifier, "main", "c2", indexed_at=None)
    found = manifest.repository(identifier, manifest.all_ids())
    assert (found.commit, found.indexed_at) == ("c1", 5.0)
    manifest.set_ref(identifier, "dev", "c2", indexed_at=7.0)
    found = manifest.repository(identifier, manifest.all_ids())
    assert (found.ref, found.commit, found.indexed_at) == ("dev", "c2", 7.0)
    assert len(manifest.refs(scope_of(identifier), None)) == 1


def test_a_deleted_repository_leaves_a_note_that_its_points_must_go(manifest: Manifest) -> None:
    identifier = register(manifest)
    manifest.files.commit(identifier, [indexed("a", "b1", 1, {7: 1})])
    manifest.set_ref(identifier, "main", "c1", indexed_at=5.0)
    job = manifest.jobs.enqueue(identifier)
    manifest.delete(identifier)
    assert manifest.all_ids() == frozenset()
    assert manifest.current([(identifier, "base", "a", "b1")]) == set()
    assert manifest.document_frequencies(scope_of(identifier), {7}) == ({}, 0)
    with pytest.raises(NotFound):
        manifest.jobs.get(job.id)
    assert manifest.deleted() == [identifier]
    manifest.confirm_deleted(identifier)
    assert manifest.deleted() == []


def test_a_repository_being_indexed_cannot_be_deleted(manifest: Manifest) -> None:
    identifier = register(manifest)
    manifest.jobs.enqueue(identifier)
    manifest.jobs.claim()
    with pytest.raises(Conflict, match="being indexed"):
        manifest.delete(identifier)
    assert manifest.all_ids() == {identifier}


def test_jobs_run_in_the_order_in_which_they_were_asked_for(manifest: Manifest) -> None:
    jobs = [manifest.jobs.enqueue(register(manifest, name)) for name in "abc"]
    claimed = [manifest.jobs.claim() for _ in range(4)]
    assert [job.id if job else None for job in claimed] == [*(job.id for job in jobs), None]


def test_a_job_that_has_not_begun_serves_the_next_asker_too(manifest: Manifest) -> None:
    identifier = register(manifest)
    first = manifest.jobs.enqueue(identifier)
    assert manifest.jobs.enqueue(identifier).id == first.id
    manifest.jobs.claim()
    assert manifest.jobs.enqueue(identifier).id != first.id


def test_progress_and_failure_are_kept_with_the_job(manifest: Manifest) -> None:
    job = manifest.jobs.enqueue(register(manifest))
    assert not job.is_over
    manifest.jobs.report(job.id, Progress(1, 2, 3, 1, 2, 40))
    assert manifest.jobs.get(job.id).progress == Progress(1, 2, 3, 1, 2, 40)
    manifest.jobs.finish(job.id, "failed", Progress(2, 2, 3, 1, 2, 50), JobError("timeout", "too slow"))
    found = manifest.jobs.get(job.id)
    assert (found.state, found.error, found.is_over) == ("failed", JobError("timeout", "too slow"), True)
    assert found.finished_at is not None
    assert found.finished_at >= found.created_at


def test_jobs_of_a_process_that_died_wait_again(manifest: Manifest) -> None:
    job = manifest.jobs.enqueue(register(manifest))
    manifest.jobs.claim()
    assert manifest.jobs.requeue_running() == 1
    claimed = manifest.jobs.claim()
    assert claimed is not None
    assert claimed.id == job.id


def test_only_the_newest_jobs_of_a_repository_are_kept(manifest: Manifest) -> None:
    identifier = register(manifest)
    ids = []
    for _ in range(25):
        job = manifest.jobs.enqueue(identifier)
        manifest.jobs.finish(job.id, "succeeded", Progress())
        ids.append(job.id)
    assert manifest.jobs.get(ids[-1]).state == "succeeded"
    with pytest.raises(NotFound):
        manifest.jobs.get(ids[0])


def test_a_lease_is_one_holders_until_it_runs_out(manifest: Manifest) -> None:
    jobs = manifest.jobs
    assert jobs.take_lease("indexer", "one", 60)
    assert not jobs.take_lease("indexer", "two", 60)
    assert jobs.take_lease("indexer", "one", 0.05)
    time.sleep(0.06)
    assert jobs.take_lease("indexer", "two", 60)
    jobs.give_lease("indexer", "one")
    assert not jobs.take_lease("indexer", "one", 60)
    jobs.give_lease("indexer", "two")
    assert jobs.take_lease("indexer", "one", 60)


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Manifest(tmp_path / "m.sqlite")
    first.open()
    identifier = register(first)
    first.close()
    second = Manifest(tmp_path / "m.sqlite")
    second.open()
    assert second.all_ids() == {identifier}
    second.close()


def test_a_manifest_of_a_newer_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(Conflict, match=r"version 99.*DATA_DIR"):
        Manifest(path).open()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_file_that_is_no_database_is_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    path.write_bytes(b"this is no database " * 100)
    with pytest.raises(Unavailable, match=r"cannot open .*m\.sqlite"):
        Manifest(path).open()


def test_a_manifest_must_be_opened_first(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not open"):
        Manifest(tmp_path / "m.sqlite").all_ids()


def test_threads_read_while_another_writes(manifest: Manifest) -> None:
    identifier = register(manifest)
    seen: list[int] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            files = len(manifest.files.of(identifier))
            assert files % 10 == 0
            seen.append(files)

    reader = threading.Thread(target=read)
    reader.start()
    for batch in range(20):
        manifest.files.commit(identifier, [indexed(f"{batch}/{n}", "b") for n in range(10)])
    stop.set()
    reader.join()
    assert seen == sorted(seen)
    assert len(seen) > 1


def test_kept_weights_are_one_set_a_repository_and_go_with_it(manifest: Manifest) -> None:
    mine, other = register(manifest, "a"), register(manifest, "b")
    manifest.rankings.keep(mine, {"test_weight": 0.25}, {"gain": 0.03})
    manifest.rankings.keep(mine, {"docs_weight": 0.5, "per_file": 2}, {})
    kept = manifest.rankings.of(mine)
    assert kept is not None
    assert (kept.weights, kept.evidence, kept.kept_at > 0) == ({"docs_weight": 0.5, "per_file": 2}, {}, True)
    assert manifest.rankings.of(other) is None
    manifest.rankings.forget(mine)
    manifest.rankings.forget(mine)
    assert manifest.rankings.of(mine) is None
    manifest.rankings.keep(other, {"test_weight": 0.25}, {})
    manifest.delete(other)
    assert manifest.rankings.of(other) is None


def test_no_weights_are_kept_or_forgotten_while_the_index_is_restored(manifest: Manifest) -> None:
    mine = register(manifest)
    manifest.jobs.begin_maintenance("restore", 60)
    with pytest.raises(Conflict, match="being restored"):
        manifest.rankings.keep(mine, {"test_weight": 0.25}, {})
    with pytest.raises(Conflict, match="being restored"):
        manifest.rankings.forget(mine)
