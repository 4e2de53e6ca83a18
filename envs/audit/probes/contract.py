"""Does the environment keep gymnasium's contract and ours?"""

import warnings

from gymnasium.utils.env_checker import check_env

from proofgym.envs.audit.ground import Ground, stalling
from proofgym.envs.audit.play import always, in_turn
from proofgym.verifiers import Message, Role, Task, ToolCall, assistant, tool_call


async def probe_contract(ground: Ground) -> None:
    """Run gymnasium's checker, then episodes that a clumsy policy would make."""
    journal = ground.journal
    if journal.begin("contract.gymnasium/check_env/0"):
        journal.record("contract.gymnasium", _check_env(ground))
    for number, subject in enumerate(ground.attacked):
        task = subject.task
        if journal.begin(f"contract.episode/nonsense/{number}"):
            played = await ground.play(task, always("zq7"))
            journal.record("contract.episode", played.error if played.broken else "")
        if journal.begin(f"contract.limits/stall/{number}"):
            played = await ground.play(task, stalling(ground.cls))
            most = ground.cls.limits.turns
            kept = played.stop is not None and len(played.rewards) <= most
            told = f"{len(played.rewards)} turns were played, and limits.turns is {most}"
            journal.record("contract.limits", "" if kept else played.error or told)
        for name, message in _clumsy():
            if journal.begin(f"contract.malformed-call/{name}/{number}"):
                journal.record(
                    "contract.malformed-call", await _answer(ground, task, name, message)
                )


def _check_env(ground: Ground) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check_env(ground.cls(), skip_render_check=True)
        except Exception as error:  # noqa: BLE001  # the environment under attack: recorded
            return f"{type(error).__name__}: {error}"
    return ""


def _clumsy() -> list[tuple[str, Message]]:
    broken = ToolCall(id="c", name="", arguments="{", error="expected JSON")
    unknown = tool_call("no_such_tool", x=1)
    garbled = ToolCall(id="c", name="no_such_tool", arguments="[1")
    return [
        ("malformed", assistant("", broken)),
        ("unknown", assistant("", unknown)),
        ("garbled", assistant("", garbled)),
        ("two at once", assistant("", broken, unknown)),
    ]


async def _answer(ground: Ground, task: Task, name: str, message: Message) -> str:
    played = await ground.play(task, in_turn([message], "zq7"))
    if played.broken:
        return f"{name}: {played.error}"
    replies = played.replies[0] if played.replies else []
    goes_on = len(played.rewards) > 1
    if goes_on and ground.cls._own_step is None:
        told = [reply for reply in replies if reply["role"] == Role.TOOL.value]
        if len(told) != len(message.tool_calls) or not all(reply["content"] for reply in told):
            return f"{name}: {len(message.tool_calls)} calls got {len(told)} answers in words"
    return ""
