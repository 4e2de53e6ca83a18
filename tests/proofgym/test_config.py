"""What a run's configuration may be, and what is said when it is something else."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofgym.config import apply_override, load_config, parse_value
from proofgym.envs import UnknownEnvError
from proofgym.trainers.errors import ConfigError
from proofgym.trainers.toml_text import to_toml

RECIPES = sorted(Path(__file__).parents[2].glob("recipes/*.toml"))

WRONG = {
    "a key of a stage's table": (
        "stages.grpo.optimzer.lr=1",
        "stages.grpo.optimzer is not a key. Did you mean stages.grpo.optimizer?",
    ),
    "a key at the top": ("sed=3", "sed is not a key. Did you mean seed?"),
    "a key of the model": ("model.hiden_size=3", "Did you mean model.hidden_size?"),
    "a key unlike any": ("evaluation.zzz=3", "Known here: attempts, every, max_tokens, tasks"),
    "a stage's name": ("stages.gropo.steps=3", "Did you mean stages.grpo?"),
    "a kind": ("stages.sft.kind=sftt", "stages.sft.kind must be one of sft, rl, got 'sftt'"),
    "too small": ("stages.sft.steps=0", "must be greater than or equal to 1, got 0"),
    "true for a number": ("stages.sft.steps=true", "must be a valid integer, got True"),
    "a word for a number": ("seed=abc", "seed must be a valid integer, got 'abc'"),
    "probabilities": ("stages.sft.demonstrators.oracle=0.9", "add up to 1, got 1.4"),
    "a later stage": ("stages.sft.init=grpo", "stages.sft.init must name an earlier stage"),
    "a demonstrator": (
        "stages.sft.demonstrators={orcale=1.0}",
        "expected a demonstrator of tools/calculator-v0 (caller, hurried, oracle), got 'orcale'. "
        "Did you mean oracle?",
    ),
    "a device": ("device=gpu", "device must be auto, cpu, cuda or cuda:N, got 'gpu'"),
    "no equals sign": ("seed", "expected an override such as"),
    "through a number": ("seed.x=1", "expected seed to be a table, got 0"),
}


@pytest.mark.parametrize(("override", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_key_or_value_is_named(tiny_config: Path, override: str, said: str) -> None:
    tiny_config.write_text("seed = 0\n" + tiny_config.read_text())
    with pytest.raises(ConfigError) as caught:
        load_config(tiny_config, [override])
    assert said in str(caught.value)


def test_every_problem_of_a_file_is_listed(tiny_config: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tiny_config, ["sed=1", "evaluation.taks=3"])
    assert "Did you mean seed?" in str(caught.value)
    assert "Did you mean evaluation.tasks?" in str(caught.value)


def test_broken_toml_shows_its_line(tiny_config: Path) -> None:
    tiny_config.write_text('name = "x"\nseed = = 3\n')
    with pytest.raises(ConfigError) as caught:
        load_config(tiny_config)
    assert "line 2" in str(caught.value)
    assert "2 | seed = = 3" in str(caught.value)


def test_a_missing_file_names_its_neighbours(tiny_config: Path) -> None:
    with pytest.raises(ConfigError, match=r"got no file at .*Did you mean .*tiny\.toml\?"):
        load_config(tiny_config.with_name("tini.toml"))


def test_an_unknown_environment_names_the_nearest(tiny_config: Path) -> None:
    with pytest.raises(UnknownEnvError, match="Did you mean tools/calculator-v0"):
        load_config(tiny_config, ["environment=tools/calculater-v0"])


def test_an_override_replaces_one_value(tiny_config: Path) -> None:
    config = load_config(tiny_config, ["stages.grpo.optimizer.lr=2e-6", "name=other"])
    assert config.stages["grpo"].optimizer.lr == 2e-6
    assert config.stages["grpo"].steps == 6
    assert config.name == "other"


def test_another_kind_drops_the_keys_of_the_old_one(tiny_config: Path) -> None:
    config = load_config(tiny_config, ["model.kind=pretrained", "model.path=somewhere/small"])
    assert config.model.model_dump() == {"kind": "pretrained", "path": "somewhere/small"}


@pytest.mark.parametrize(
    "recipe", sorted(Path(__file__).parents[2].glob("recipes/*.toml")), ids=str
)
def test_every_recipe_loads_and_survives_being_written(recipe: Path, tmp_path: Path) -> None:
    config = load_config(recipe)
    written = tmp_path / "again.toml"
    written.write_text(to_toml(config.model_dump(mode="json")))
    assert load_config(written) == config


PARSED: dict[str, Any] = {
    "3": 3,
    "3e-4": 3e-4,
    "true": True,
    "True": "True",
    "[1, 2]": [1, 2],
    "{a = 1}": {"a": 1},
    '"quoted"': "quoted",
    "plain": "plain",
    "runs/a b": "runs/a b",
    "1\nother = 2": "1\nother = 2",
    "": "",
    "007": "007",
}


@pytest.mark.parametrize(("text", "value"), PARSED.items(), ids=map(repr, PARSED))
def test_a_value_is_toml_or_else_a_plain_string(text: str, value: Any) -> None:
    assert parse_value(text) == value


def test_overrides_make_the_tables_that_they_need() -> None:
    table: dict[str, Any] = {}
    apply_override(table, "a.b.c = 1")
    assert table == {"a": {"b": {"c": 1}}}


# TOML has no lone surrogates
texts = st.text(st.characters(exclude_categories=["Cs"]))
leaves = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), texts
)
values = st.one_of(leaves, st.lists(leaves, max_size=3))
tables = st.recursive(
    st.dictionaries(texts, values, max_size=4),
    lambda inner: st.dictionaries(texts, st.one_of(values, inner), max_size=4),
    max_leaves=8,
)


@given(tables)
def test_any_table_survives_being_written_as_toml(table: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(table)) == table
