"""Instructions and records."""

import json
from typing import Any

import pytest

from proofgym.envs import environment_class, make
from proofgym.envs.library.language.constraints import MAKERS
from proofgym.verifiers import Secret, Task
from proofgym.verifiers.instructions import IFEVAL


def test_every_instruction_of_ifeval_is_asked_for_alone_and_with_others() -> None:
    assert set(MAKERS) == set(IFEVAL)
    source = environment_class("language/instructions-v0").tasks
    asked: dict[str, set[str]] = {}
    for index in range(75):
        task = source.task("train", index)
        for name in task.answer.reveal()["instruction_id_list"]:
            asked.setdefault(name, set()).add(str(task.difficulty))
    assert set(asked) == set(IFEVAL)
    assert set.union(*asked.values()) == {"one", "two", "three"}


def test_a_text_that_keeps_all_but_one_instruction_is_not_paid() -> None:
    env = make("language/instructions-v0")
    kept = {"instruction_id_list": ["punctuation:no_comma", "detectable_format:title"]}
    task = Task(id="t", prompt="p", answer=Secret({**kept, "kwargs": [{}, {}]}))
    for said, right in (("<<Joy>>\nfine", True), ("<<Joy>>\nfine, too", False), ("fine", False)):
        env.reset(seed=1, options={"task": task})
        assert env.step(said)[4]["solved"] is right


RECORD = {"name": "Ines", "age": 40, "married": True}


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (json.dumps(RECORD), True),
        ('{"married": true, "age": 40, "name": "Ines"}', True),
        ("```json\n" + json.dumps(RECORD) + "\n```", True),
        (json.dumps({**RECORD, "age": "40"}), False),
        (json.dumps({**RECORD, "age": 40.0}), False),
        (json.dumps({**RECORD, "married": 1}), False),
        (json.dumps({**RECORD, "more": 1}), False),
        (json.dumps([RECORD]), False),
        ('{"name": "Ines", "age": 40, "age": 40, "married": true}', False),
        ("Here it is: " + json.dumps(RECORD), False),
        (str(RECORD), False),
    ],
)
def test_a_record_is_compared_by_value_and_type(said: Any, right: bool) -> None:
    env = make("language/records-v0")
    env.reset(seed=1, options={"task": Task(id="r", prompt="p", answer=Secret(RECORD))})
    assert env.step(said)[4]["solved"] is right
