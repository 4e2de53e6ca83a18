"""A chat server without a model, for :mod:`rollouts`: it calls a tool some turns, then answers.

Run: ``python benchmarks/chat_server.py``; it prints its port, and ends with its standard input.
"""

import asyncio
import json
import sys
from typing import Any

TURNS = 8
CALL = {"name": "look", "arguments": '{"key": "alpha"}'}


def answer(body: dict[str, Any]) -> bytes:
    """Say what comes next in a conversation."""
    turn = sum(message["role"] == "assistant" for message in body["messages"])
    message: dict[str, Any] = {"role": "assistant", "content": "The value is 42."}
    if turn < TURNS - 1:
        call = {"id": f"call-{turn}", "type": "function", "function": CALL}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
    finish = "tool_calls" if "tool_calls" in message else "stop"
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    reply = {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage,
    }
    return json.dumps(reply).encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection's requests, one after the other."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            reply = answer(json.loads(await reader.readexactly(length)))
            top = (
                f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(reply)}"
            )
            writer.write(top.encode() + b"\r\n\r\n" + reply)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    """Serve until standard input ends."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
