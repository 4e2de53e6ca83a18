"""Is text of the policy run?"""

from itertools import islice

from proofgym.envs.audit.ground import Ground, junk_calls
from proofgym.envs.audit.play import always, in_turn


async def probe_execution(ground: Ground) -> None:
    """Say programs as answers and as arguments of tools, and look whether they ran."""
    journal, canary = ground.journal, ground.canary
    for number, subject in enumerate(ground.attacked):
        task = subject.task
        for place, payload in enumerate(islice(canary.payloads(), 0, None, ground.reach.every)):
            for form, wrap in enumerate(subject.wraps):
                if not journal.begin(f"exec.canary/{place} in form {form}/{number}"):
                    continue
                canary.sign()
                await ground.play(task, always(wrap(payload)))
                seen = canary.sign()
                told = f"answer {payload!r:.100}: {seen}"
                journal.record("exec.canary", told if seen else "")
            if not journal.begin(f"exec.canary/{place} to tools/{number}"):
                continue
            for call in junk_calls(ground.cls, payload):
                canary.sign()
                await ground.play(task, in_turn([call], ""))
                seen = canary.sign()
                told = f"tool {call.tool_calls[0].name} with {payload!r:.80}: {seen}"
                journal.record("exec.canary", told if seen else "")
        if number == 0 and not ground.cls.tools_by_name and len(ground.attacked) > 1:
            break  # without tools one task shows it
