"""An async flow: its tasks are awaited, and several may wait at the same time."""

import asyncio

from tidemill import flow, task


@task
async def measure(word: str) -> int:
    await asyncio.sleep(0.1)  # stands in for a slow service
    return len(word)


@flow
async def longest(words: list[str]) -> str:
    lengths = await asyncio.gather(*(measure(word) for word in words))
    return max(zip(lengths, words, strict=True))[1]


if __name__ == "__main__":
    print("The longest word is", asyncio.run(longest(["sluice", "wheel", "millstone", "tide"])))
