"""Names of clusters change the key of the page, and of nothing else."""

from pathlib import Path

from flows.execution.plan import find_job
from flows.settings import Settings
from tests.flows.helpers import changed


def named(settings: Settings, path: Path, text: str) -> Settings:
    path.write_text(text)
    return changed(settings, report={"names": str(path)})


def test_only_the_key_of_the_page_follows_the_content_of_the_names(
    finished: Settings, tmp_path: Path
) -> None:
    plain = dict(find_job(finished).keys)
    cats = dict(find_job(named(finished, tmp_path / "a.yaml", "1: cat\n2: tree\n")).keys)
    assert {stage for stage in plain if plain[stage] != cats[stage]} == {"report"}
    other_spelling = named(finished, tmp_path / "b.yaml", '# again\n"2": tree\n1: cat\n')
    assert find_job(other_spelling).keys == cats
    assert (
        find_job(named(finished, tmp_path / "a.yaml", "1: dog\n2: tree\n")).keys["report"] != cats["report"]
    )
