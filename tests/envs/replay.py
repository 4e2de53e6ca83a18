"""Play fixed episodes and print every observation and reward; test_bundled runs it in processes."""

import json

from proofgym.envs import make
from proofgym.envs.bundled import BUNDLED

ACTIONS = (
    '<tool_call>{"name": "calculator", "arguments": {"expression": "6*7"}}</tool_call>',
    "16",
    "8",
)


def main() -> None:
    """Print one JSON line for each call: fixed texts, and what the oracle says."""
    for id in BUNDLED:
        env = make(id)
        for seed in range(2):
            print(json.dumps(env.reset(seed=seed)))
            for action in ACTIONS:
                result = env.step(action)
                print(json.dumps(result))
                if result[2] or result[3]:
                    break
        print(json.dumps(env.reset(seed=9)))
        result = ("", 0.0, False, False, {})
        while not (result[2] or result[3]):
            episode = env.episode
            result = env.step(env.demonstrator()(episode.task, episode.messages))
            print(json.dumps(result))


if __name__ == "__main__":
    main()
