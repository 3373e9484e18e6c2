"""Many tasks at once: pages are read on threads, and each page's words are counted as soon as the page is there.

One page does not exist. The tasks that need it do not start, and the others do not mind.
"""

import time
from collections import Counter

from tidemill import ThreadPoolTaskRunner, allow_failure, flow, get_run_logger, task

PAGES = {
    "ebb": "the tide goes out and the mill stands still",
    "flow": "the tide comes in and the mill wheel turns",
    "mill": "the miller waits for the tide",
}


@task
def read(page: str) -> str:
    time.sleep(0.2)  # stands in for a slow service
    return PAGES[page]


@task
def count(text: str) -> Counter[str]:
    return Counter(text.split())


@task
def add_up(counts: list[Counter[str] | Exception]) -> Counter[str]:
    total: Counter[str] = Counter()
    for found in counts:
        if not isinstance(found, Exception):
            total += found
    return total


@flow(task_runner=ThreadPoolTaskRunner(max_workers=8))
def word_count(pages: list[str]) -> Counter[str]:
    texts = read.map(pages)
    counts = count.map(texts)
    total = add_up.submit(allow_failure(counts)).result()
    missing = [page for page, text in zip(pages, texts, strict=True) if text.state.is_failed()]
    get_run_logger().info("Not found: %s", ", ".join(missing) or "nothing")
    return total


if __name__ == "__main__":
    word, times = word_count([*PAGES, "harbour"]).most_common(1)[0]
    print(f"The commonest word is '{word}', {times} times")
