"""A job opens its workspace once, and reads what cannot change once."""

import pickle
from collections import Counter

import pytest

from flows.execution import plan
from flows.execution.plan import STAGES, find_job
from flows.settings import Settings
from flows.stage import Job
from storage import UnknownArrayError
from storage.stores.local import LocalStore


@pytest.fixture
def manifests_read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the manifest of each stage was read."""
    counts: Counter[str] = Counter()
    read = LocalStore.read

    def counted(store: LocalStore, name: str) -> bytes:
        if name == "manifest.json":
            counts[store.location.split("/")[-2]] += 1
        return read(store, name)

    monkeypatch.setattr(LocalStore, "read", counted)
    return counts


def test_a_complete_manifest_is_read_once(finished: Settings, manifests_read: Counter[str]) -> None:
    job = find_job(finished)
    manifests_read.clear()
    manifest = job.checkpoint("embed").require()
    for shard in (0, 1):
        STAGES["embed"].compute_shard(job, manifest, shard)
    assert manifests_read == {"embed": 1, "segment": 1, "index": 1}
    assert job.workspace is job.workspace
    assert find_job(finished).checkpoint("embed") is not job.checkpoint("embed")


def test_what_was_taken_back_is_read_again(copy: Settings) -> None:
    checkpoint = find_job(copy).checkpoint("segment")
    manifest = checkpoint.require()
    checkpoint.forget(manifest, [0], [])
    assert not checkpoint.require_begun().complete
    assert find_job(copy).checkpoint("segment").missing_shards(manifest) == [0]
    checkpoint.delete()
    assert checkpoint.read_manifest() is None


def test_an_incomplete_manifest_is_read_anew(copy: Settings, manifests_read: Counter[str]) -> None:
    writer = find_job(copy).checkpoint("embed")
    manifest = writer.require()
    writer.forget(manifest, [], [])
    reader = find_job(copy).checkpoint("embed")
    assert not reader.require_begun().complete
    writer.finish(manifest.summary, 0.0)
    assert reader.require_begun().complete
    assert reader.require().content == manifest.content


def test_another_process_gets_the_keys_and_lists_nothing(
    finished: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = find_job(finished)
    job.checkpoint("segment").require()

    def refuse(_: object) -> str:
        raise AssertionError("a worker listed the data set")

    monkeypatch.setattr(plan, "listing_digest", refuse)
    for sent in (Job.from_json(job.to_json()), pickle.loads(pickle.dumps(job))):
        assert (sent.settings, sent.keys, sent.listing) == (job.settings, job.keys, job.listing)
        assert sent.checkpoint("segment").require() == job.checkpoint("segment").require()
    assert find_job(finished, listing=job.listing).keys == job.keys


def test_an_unknown_array_is_named(finished: Settings) -> None:
    with pytest.raises(UnknownArrayError, match="has no array 'token'; it has tokens, attention, present$"):
        find_job(finished).checkpoint("extract").array("token")
