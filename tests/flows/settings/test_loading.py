"""Configurations: defaults, overrides, and the messages about wrong values."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from dcn.datasets import DATASETS
from dcn.options import Options
from dcn.weights.presets import PRESETS
from flows.errors import InvalidSettingsError
from flows.execution.plan import STAGES
from flows.settings import BackboneSettings, LanguageSettings, Settings, TLSSettings
from flows.settings.loading import config_names, load_settings

ROOT = Path(__file__).parents[3]
OF_ONE_DEPLOYMENT = {"name", "entrypoint", "parameters", "schedules"}


def test_defaults_of_voc2012_are_those_of_the_paper() -> None:
    settings = load_settings("voc2012").resolve()
    assert settings.backbone.name == "dino-s8"
    assert settings.backbone.input_size == 224
    train = settings.train
    assert (train.num_prototypes, train.num_stages, train.heads) == (5, 6, 1)
    assert (train.iterations, train.batch_size) == (2500, 32)
    assert (train.learning_rate, train.weight_decay) == (1e-4, 0.01)
    assert (settings.segment.attention_reduction, settings.segment.region_score) == ("max", "sum")
    assert (settings.embed.size, settings.embed.layer, settings.evaluate.num_seeds) == (224, -1, 10)


def test_the_literal_configuration_follows_the_paper_to_the_letter() -> None:
    train = load_settings("voc2012-literal").train
    assert (train.norm, train.start, train.prototypes, train.schedule) == (
        "post",
        "random",
        "normal",
        "constant",
    )
    assert train.max_gradient_norm is None


def test_a_constant_null_model_needs_probabilities() -> None:
    with pytest.raises(
        InvalidSettingsError, match=r"set train\.temperature to 0\.1, or leave train\.expected_"
    ):
        load_settings("sample", ["train.temperature=null"])
    plain = load_settings("sample", ["train.temperature=null", "train.expected_affinity=null"])
    assert plain.train.temperature is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("tokens", ("tokens",)),
        ("[crop, tokens]", ("crop", "tokens")),
        ('["crop-context"]', ("crop-context",)),
    ],
)
def test_a_source_of_embeddings_is_a_name_or_a_list(written: str, meant: tuple[str, ...]) -> None:
    assert load_settings("sample", [f"embed.source={written}"]).embed.source == meant


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("source=[crop, crop]", "crop stands there twice"),
        ("source=[]", r"embed\.source"),
        ("source=keys", "crop-context"),
        ("whiten=-3", r"embed\.whiten"),
        ("token_layer=3", r"embed\.token_layer"),
    ],
)
def test_wrong_embeddings_are_refused(wrong: str, message: str) -> None:
    with pytest.raises(InvalidSettingsError, match=message):
        load_settings("sample", [f"embed.{wrong}"])


def test_patches_are_dropped_from_masked_crops_only() -> None:
    overrides = ["embed.source=[crop-context, tokens]", "embed.drop_masked=true"]
    with pytest.raises(InvalidSettingsError, match="has no meaning for embed.source crop-context, tokens"):
        load_settings("sample", overrides).resolve()
    assert load_settings("sample", ["embed.drop_masked=true"]).resolve().embed.drop_masked


def test_a_layer_of_tokens_needs_a_source_that_reads_tokens() -> None:
    with pytest.raises(InvalidSettingsError, match="add tokens to embed.source"):
        load_settings("sample", ["embed.token_layer=-2"]).resolve()
    sources = ["embed.source=[crop, tokens]", "embed.token_layer=-2"]
    assert load_settings("sample", sources).resolve().embed.token_layer == -2


@pytest.mark.parametrize("whiten", [False, True, 64])
def test_whitening_is_on_off_or_a_number_of_directions(whiten: bool | int) -> None:
    found = load_settings("sample", [f"embed.whiten={str(whiten).lower()}"]).embed.whiten
    assert found == whiten
    assert type(found) is type(whiten)


@pytest.mark.parametrize("config", ["coco_stuff27", "cityscapes27", "ade20k", "camvid", "potsdam3"])
def test_a_benchmark_clusters_all_regions(config: str) -> None:
    settings = load_settings(config).resolve()
    assert settings.dataset.name == config
    assert not settings.finds_foreground
    assert settings.evaluate.neighbors == ()


@pytest.mark.parametrize("config", ["sample", "voc2012"])  # with an average, and with sums, by the preset
def test_sums_of_attention_have_no_average(config: str) -> None:
    overrides = ["segment.region_score=sum", "segment.foreground_split=average"]
    with pytest.raises(
        InvalidSettingsError, match="set foreground_split to two-means, or region_score to mean"
    ):
        load_settings(config, overrides).resolve()
    assert load_settings(config, [*overrides, "segment.region_score=mean"]).resolve()


@pytest.mark.parametrize("name", config_names())
def test_every_configuration_is_valid(name: str) -> None:
    assert load_settings(name).resolve().backbone.input_size


def test_defaults_of_a_preset_can_be_overridden() -> None:
    settings = load_settings("sample", ["backbone.input_size=224"]).resolve()
    preset = PRESETS["focus-s14"]
    assert settings.backbone.input_size == 224
    assert settings.embed.layer == preset.embedding_layer
    assert settings.segment.attention_reduction == preset.attention_reduction


def test_deployments_use_the_sample_configuration() -> None:
    sample = load_settings("sample")
    flows = set()
    for deployment in deployments():
        flow = deployment["entrypoint"].partition(":")[2]
        parameters = dict(deployment["parameters"])  # a YAML anchor shares one dictionary among deployments
        changed = {name: parameters.pop(name, {}) for name in ("distill", "language", "compare", "sweep")}
        assert parameters.pop("runner") == {"task_timeout": 3600}
        assert Settings.model_validate(parameters) == sample
        # The sample configuration leaves these sections empty, so their flows need values.
        section = {"ladder": "compare", "token_layers": "distill"}.get(flow, flow)
        assert {name for name, values in changed.items() if values} == {section} & set(changed)
        Settings.model_validate({**parameters, **changed})
        flows.add(flow)
    assert flows == {*STAGES, "pipeline", "compare", "sweep", "ladder"}
    schedules = [schedule for deployment in deployments() for schedule in deployment.get("schedules", [])]
    assert [schedule["active"] for schedule in schedules] == [False]


def test_deployments_differ_in_nothing_but_name_flow_parameters_and_schedule() -> None:
    shared = [
        {name: value for name, value in deployment.items() if name not in OF_ONE_DEPLOYMENT}
        for deployment in deployments()
    ]
    assert all(entries == shared[0] for entries in shared)


def deployments() -> list[dict[str, Any]]:
    """The deployments of both files. The flow `language` has its own, because it needs weights."""
    return [
        deployment
        for name in ("prefect.yaml", "prefect-language.yaml")
        for deployment in yaml.safe_load((ROOT / name).read_text())["deployments"]
    ]


VERSION = re.escape(version("dynamic-clustering-network"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {iteratons: 3}", rf"config.yaml, line 1: train.iteratons: dcn {VERSION} has no such setting; did you mean iterations\?"),
        ("trian: {iterations: 3}", r"line 1: trian: .*no such setting; did you mean train\?"),
        ("iterations: 3", r"iterations: .*no such setting; did you mean train.iterations or distill.iterations\?"),
        ("segment: {segmenter: {name: kmeans, regions: 3}}", r"segment.segmenter.regions: .*did you mean num_regions\?"),
        ("segment: {segmenter: {name: kmeens}}", r"line 1: segment.segmenter.name: there is no 'kmeens'; choose from dcn, .*; did you mean kmeans\?"),
        ("schema: 2", rf"schema: dcn {VERSION} has no such setting$"),
        ("train: {iterations: many}", "line 1: train.iterations: write a whole number, not 'many'"),
        ("train: {num_prototypes: 300}", "train.num_prototypes: write a number of at most 255, not 300"),
        ("dataset: {name: imagenet}", r"line 1: dataset.name: there is no 'imagenet'; choose from sample, folder, voc2012"),
        ("dataset: {name: folders, root: a}", r"dataset.name: there is no 'folders'; .*; did you mean folder\?"),
        ("dataset: {root: a}", "line 1: dataset.name: it has no value; write one of sample, folder, voc2012"),
        ("dataset: {name: voc2012}", r"line 1: dataset.root: it has no value; write dataset: \{root: PATH\}, or --set dataset.root=PATH \(Folder that holds `VOCdevkit"),
        ("runner: {kind: dask, tls: {ca_file: a, cert: b}}", r"write runner: \{tls: \{key: PATH\}\}, or --set runner.tls.key=PATH \(Private key"),
        ("dataset: {name: folder, root: a, split: val}", "dataset.split: .*has no such setting"),
        ("backbone: {token_layer: 3}", "backbone.token_layer: write a number below 0, not 3"),
        ("segment: {attention_reduction: median}", "segment.attention_reduction: write 'max', 'mean' or 'min', not 'median'"),
        ("segment: {segmenter: {name: kmeans, num_regions: 0}}", "segment.segmenter.num_regions: write a number of at least 1, not 0"),
        ("compare: {segmenters: []}", "compare.segmenters: write a list of at least 1, not \\[\\]"),
        ("runner: {address: 'tcp://host:8786'}", "runner: .*set runner.kind to dask"),
        ("runner: {kind: dask, address: 'host:8786'}", "runner.address: .*write tcp://HOST:PORT or tls://HOST:PORT, not 'host:8786'"),
        ("runner: {kind: dask, address: 'tls://host:8786'}", "runner: .*need each other"),
        ("runner: {kind: dask, address: 'tcp://host:8786', tls: {ca_file: a, cert: b, key: c}}", "runner: .*need each other"),
        ("runner: {kind: dask, address: 'tcp://h:1', adaptive: {maximum: 2}}", "runner: .*remove adaptive"),
        ("runner: {kind: dask, adaptive: {minimum: 3, maximum: 2}}", "runner.adaptive: .*the minimum 3 is larger than the maximum 2"),
        ("runner: {kind: dask, tls: {ca_file: a, cert: b, key: c}}", "runner: .*a local cluster uses loopback only"),
        ("runner: {kind: dask, cluster_arguments: {cores: 1}}", "runner: .*cluster_arguments need a cluster"),
        ("runner: {kind: dask, cluster: os.system}", "runner.cluster: .*write the path of a class in dask_jobqueue, .*not 'os.system'"),
        ("runner: {kind: dask, cluster: dask_jobqueue}", "runner.cluster: .*write the path of a class in dask_jobqueue"),
        ("runner: {kind: dask, cluster: dask_jobqueue_evil.A}", "runner.cluster: .*write the path of a class in dask_jobqueue"),
        ("runner: {kind: dask, cluster: distributed.SpecCluster}", "runner.cluster: .*write the path of a class in dask_jobqueue"),
        ("runner: {kind: dask, cluster: dask_jobqueue.SLURMCluster, cluster_arguments: {scheduler_cls: os.system}}", "runner.cluster_arguments: .*scheduler_cls could import any code"),
        ("runner: {kind: dask, cluster: dask_jobqueue.SLURMCluster, cluster_arguments: {scheduler_options: {preload: [x]}}}", "runner.cluster_arguments: .*preload could import any code"),
        ("[1, 2]", "holds a list; write sections of settings"),
        ("train", "holds the single value 'train'; write sections of settings"),
        ("a: [", "is not readable YAML"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidSettingsError, match=message):
        load_settings(write(tmp_path, text))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.iterations", "write section.name=value"),
        ("=3", "write section.name=value"),
        ("workspace.x=3", "workspace is not a section"),
        ("train.iterations=[", "the value is not YAML"),
        ("train.iterations=0", "--set: train.iterations: write a number of at least 1, not 0"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InvalidSettingsError, match=message):
        load_settings(write(tmp_path, "workspace: w"), [override])


def test_overrides_can_have_every_type(tmp_path: Path) -> None:
    settings = load_settings(
        write(tmp_path, "train: {batch_size: 4}"),
        ["train.max_gradient_norm=null", "runner.kind=dask", "train.learning_rate=1e-3", "shard_images=7"],
        str(tmp_path / "w"),
    )
    assert settings.train.batch_size == 4
    assert settings.train.max_gradient_norm is None
    assert settings.train.learning_rate == 1e-3
    assert settings.runner.kind == "dask"
    assert settings.shard_images == 7
    assert settings.workspace == str(tmp_path / "w")


def test_an_unknown_configuration_lists_the_known_ones() -> None:
    with pytest.raises(
        InvalidSettingsError,
        match="there is no configuration smaple; give a YAML file or one of .*, gpu, .*, sample, .*voc2012",
    ):
        load_settings("smaple")


def test_a_mistyped_configuration_is_answered_with_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidSettingsError, match=r"did you mean sample\?"):
        load_settings("smaple")
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "train: {seed: 1}").rename("mine.yaml")
    with pytest.raises(
        InvalidSettingsError, match=r"no configuration min\.yaml; .*; did you mean mine\.yaml\?"
    ):
        load_settings("min.yaml")
    with pytest.raises(
        InvalidSettingsError, match=r"is a folder, not a configuration; `dcn init .*` writes one"
    ):
        load_settings(tmp_path)


class TestHome:
    """``~`` and variables in every path, as a shell would replace them."""

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("SETS", "sets")
        return tmp_path

    def test_in_a_configuration_and_in_overrides(self, home: Path) -> None:
        text = """
            dataset: {name: folder, root: ~/photos, masks: "$HOME/$SETS/masks", classes: "${HOME}/classes.txt"}
            runner: {kind: dask, address: "tls://h:1", tls: {ca_file: ~/ca, cert: $HOME/cert, key: key}}
            workspace: ~/results
        """
        settings = load_settings(
            write(home, text), ["backbone.weights=~/w.pth", "language.weights=$HOME/l.pt"]
        )
        assert settings.dataset.model_dump() == {
            "name": "folder", "root": home / "photos", "masks": home / "sets" / "masks", "classes": home / "classes.txt",
            "mask_values": None,
        }  # fmt: skip
        assert settings.runner.tls is not None
        assert settings.runner.tls.model_dump() == {
            "ca_file": home / "ca",
            "cert": home / "cert",
            "key": Path("key"),
        }
        assert (settings.backbone.weights, settings.language.weights) == (home / "w.pth", home / "l.pt")
        assert settings.workspace == str(home / "results")
        assert load_settings("sample", ["workspace=$HOME/$SETS"]).workspace == str(home / "sets")
        assert load_settings("sample", workspace="~").workspace == str(home)
        assert load_settings("~/config.yaml").dataset == settings.dataset

    def test_nothing_else_is_replaced(self, home: Path) -> None:
        assert load_settings("sample", workspace="s3://bucket/~/$HOME").workspace == "s3://bucket/~/$HOME"
        settings = load_settings(
            write(home, "dataset: {name: folder, root: '$NOTHING/a~b/~nobody', masks: ~}")
        )
        assert settings.dataset.model_dump(mode="json")["root"] == "$NOTHING/a~b/~nobody"
        assert settings.dataset.model_dump()["masks"] is None  # ~ alone is YAML's null

    def test_every_setting_that_is_a_path_is_covered(self, home: Path) -> None:
        """Also of data sets that are added later: the base class of all options replaces them."""
        kinds: tuple[type[Options], ...] = (*DATASETS, BackboneSettings, LanguageSettings, TLSSettings)
        for kind in kinds:
            paths = {
                name
                for name, field in kind.model_fields.items()
                if Path in (field.annotation, *get_args(field.annotation))
            }
            values = dict.fromkeys(paths, "~/x")
            if kind in DATASETS:
                values["name"] = kind.model_fields["name"].default
            found = kind.model_validate(values)
            assert {getattr(found, name) for name in paths} <= {home / "x"}
