"""One suite for all stores of a workspace: a local folder, and a bucket of a real S3 server."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    ArraySpec,
    Checkpoint,
    CheckpointDamagedError,
    CheckpointMissingError,
    Manifest,
    StorageError,
    Workspace,
)
from storage.stores import open_store
from storage.stores.store import Store, check_name

KEY = "1" * 32
SPEC = ArraySpec("tokens", (30, 40), "float16", ("patch", "channel"))


@pytest.fixture(params=["folder", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "workspace")
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}/workspace"


@pytest.fixture
def store(location: str) -> Store:
    return open_store(location)


def values(shard: int) -> np.ndarray:
    return np.random.default_rng(shard).normal(size=(4, 30, 40)).astype(np.float16)


def fill(checkpoint: Checkpoint) -> Checkpoint:
    manifest = checkpoint.begin(Manifest("extract", KEY, {}, {}, 8, 4, (SPEC,)))
    for shard in range(2):
        checkpoint.write_shard(manifest, shard, {"tokens": values(shard)}, {"shard": shard}, 0.5)
    checkpoint.finish({"images": 8}, 1.0)
    return checkpoint


def test_files_can_be_written_read_replaced_listed_and_deleted(store: Store) -> None:
    with pytest.raises(FileNotFoundError, match="there is no .*/folder/file"):
        store.read("folder/file")
    assert not store.exists("folder/file")
    store.write("folder/file", b"old")
    store.write("folder/file", b"new one")
    store.write("folder/deeper/file", b"")
    store.write("folders", b"another")
    assert store.read("folder/file") == b"new one"
    assert store.exists("folder/file")
    found = {file.name: file for file in store.list("folder")}
    assert {name: file.size for name, file in found.items()} == {"folder/file": 7, "folder/deeper/file": 0}
    assert abs(found["folder/file"].modified - datetime.now(UTC)) < timedelta(minutes=1)
    assert {file.name for file in store.folder("folder").list()} == {"file", "deeper/file"}
    assert len(list(store.list())) == 3
    store.delete("folder/file")
    store.delete("folder/file")
    assert not store.exists("folder/file")
    assert list(store.list("nothing")) == []


def test_folders_can_be_listed_and_deleted_with_their_content(store: Store) -> None:
    for name in ("b/c/1", "b/c/d/2", "b/e/3", "bc/4", "a"):
        store.write(name, b"x")
    assert list(store.folders()) == ["b", "bc"]
    assert list(store.folders("b")) == ["b/c", "b/e"]
    assert list(store.folders("nothing")) == []
    store.delete_all("b/c")
    store.delete_all("nothing")
    assert "b/e" in store.folders("b")
    assert {file.name for file in store.list()} == {"b/e/3", "bc/4", "a"}
    store.folder("b").delete_all()
    if "://" not in store.location:  # SeaweedFS still lists empty folders
        assert list(store.folders()) == ["bc"]
    store.delete_all()
    assert list(store.list()) == []


@pytest.mark.parametrize("name", ["", "/", "/a", "a/", "..", "../a", "a/../b", "a//b", "a/.", "a\0b", "a\\b"])
def test_a_name_that_could_leave_the_workspace_is_refused(store: Store, name: str) -> None:
    for use in (store.read, store.exists, store.delete, store.folder, store.tensorstore):
        with pytest.raises(ValueError, match="is not the name of a file of a workspace"):
            use(name)
    with pytest.raises(ValueError, match="is not the name of a file of a workspace"):
        store.write(name, b"")


@given(st.text(max_size=30))
def test_a_name_that_is_allowed_stays_below_its_folder(name: str) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    root = Path("/somewhere")
    assert root in (root / name).parents
    assert ".." not in (root / name).parts


def test_a_checkpoint_is_the_same_in_every_store(location: str, tmp_path: Path) -> None:
    checkpoint = fill(Workspace(location).checkpoint("extract", KEY))
    twin = fill(Workspace(tmp_path / "twin").checkpoint("extract", KEY))
    assert checkpoint.require().summary == {"images": 8}
    assert checkpoint.digests() == twin.digests()
    np.testing.assert_array_equal(checkpoint.array("tokens").rows(2, 6), twin.array("tokens").rows(2, 6))
    np.testing.assert_array_equal(checkpoint.array("tokens").read_ahead([7, 0]).result()[1], values(0)[0])
    assert [record.info for record in checkpoint.records(checkpoint.require())] == [
        {"shard": 0},
        {"shard": 1},
    ]
    assert abs(checkpoint.stored_bytes() - twin.stored_bytes()) < 100  # times in the manifest
    checkpoint.write_file("page.html", b"<p>")
    assert checkpoint.has_file("page.html")
    assert checkpoint.read_file("page.html") == b"<p>"
    checkpoint.delete_file("page.html")
    with pytest.raises(CheckpointDamagedError, match="files/page.html is missing"):
        checkpoint.read_file("page.html")
    assert location in checkpoint.file_location("page.html")


def test_a_shard_without_a_record_is_missing(location: str) -> None:
    checkpoint = Workspace(location).checkpoint("extract", KEY)
    manifest = checkpoint.begin(Manifest("extract", KEY, {}, {}, 8, 4, (SPEC,)))
    checkpoint.write_shard(manifest, 1, {"tokens": values(1)}, {}, 0.5)
    assert Workspace(location).checkpoint("extract", KEY).missing_shards(manifest) == [0]
    with pytest.raises(CheckpointMissingError, match="/extract/.* is not complete$"):
        checkpoint.require()
    with pytest.raises(CheckpointDamagedError, match="is damaged or incomplete"):
        checkpoint.array("tokens").rows(0, 4)


def test_concurrent_writes_of_one_file_leave_one_whole_content(store: Store) -> None:
    contents = [bytes([value]) * 100_000 for value in range(8)]
    threads = [threading.Thread(target=store.write, args=("file", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read("file") in contents


def test_only_one_of_many_concurrent_creations_of_a_file_succeeds(store: Store) -> None:
    created: list[int] = []

    def create(number: int) -> None:
        if store.create("file", str(number).encode()):
            created.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = created
    assert store.read("file") == str(winner).encode()
    assert [file.name for file in store.list()] == ["file"]


def test_concurrent_runs_with_different_shard_sizes_agree_on_one(location: str) -> None:
    began: list[Manifest] = []

    def begin(shard_rows: int) -> None:
        checkpoint = Workspace(location).checkpoint("extract", KEY)
        began.append(checkpoint.begin(Manifest("extract", KEY, {}, {}, 8, shard_rows, (SPEC,))))

    threads = [threading.Thread(target=begin, args=(shard_rows,)) for shard_rows in (1, 2, 4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({manifest.shard_rows for manifest in began}) == 1
    checkpoint = Workspace(location).checkpoint("extract", KEY)
    rows = np.concatenate([values(0), values(1)])
    for shard in range(began[0].num_shards):
        start, stop = began[0].shard_range(shard)
        checkpoint.write_shard(began[0], shard, {"tokens": rows[start:stop]}, {}, 0.0)
    np.testing.assert_array_equal(checkpoint.array("tokens").rows(0, 8), rows)


def test_a_checkpoint_can_be_written_by_concurrent_runs(location: str) -> None:
    checkpoints = [Workspace(location).checkpoint("extract", KEY) for _ in range(6)]
    threads = [threading.Thread(target=fill, args=(checkpoint,)) for checkpoint in checkpoints]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(checkpoints[0].array("tokens").rows(0, 4), values(0))
    assert checkpoints[0].require().complete


def test_zarr_reads_a_checkpoint_in_an_object_store(s3: str) -> None:
    from obstore.store import S3Store
    from zarr.storage import ObjectStore

    checkpoint = fill(Workspace(f"{s3}/for-zarr").checkpoint("extract", KEY))
    prefix = checkpoint.location.removeprefix(f"{s3}/") + "/arrays"
    bucket = S3Store("bucket", prefix=prefix, client_options={"allow_http": True})
    group = zarr.open_group(ObjectStore(bucket), mode="r")
    array = group["tokens"]
    assert isinstance(array, zarr.Array)
    np.testing.assert_array_equal(array[4:], values(1))


def test_a_missing_bucket_is_named_in_the_error(s3: str) -> None:
    missing = Workspace("s3://there-is-none/prefix").checkpoint("extract", KEY)
    with pytest.raises(
        StorageError,
        match=r"s3://there-is-none/prefix/.* cannot be listed: .*404 Not Found. Check the bucket",
    ):
        missing.begin(Manifest("extract", KEY, {}, {}, 8, 4, (SPEC,)))


@pytest.mark.parametrize("wrong", ["http://host/path", "s3://", "gs:///", "ftp://x/y", "", "a\0b"])
def test_a_location_that_is_no_workspace_is_refused(wrong: str) -> None:
    with pytest.raises(StorageError, match=r"is no workspace|names no bucket"):
        open_store(wrong)


def test_a_google_cloud_url_gives_a_gcs_store() -> None:
    store = open_store("gs://bucket/some/prefix/")
    assert store.folder("extract").location == "gs://bucket/some/prefix/extract"
    expected = {"driver": "gcs", "bucket": "bucket", "path": "some/prefix/arrays/tokens/"}
    assert store.tensorstore("arrays/tokens") == expected
