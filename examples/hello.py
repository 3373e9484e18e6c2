"""The smallest flow: one task, called like the function it is."""

from tidemill import flow, task


@task
def add_one(x: int) -> int:
    return x + 1


@flow
def hello(x: int) -> int:
    return add_one(x)


if __name__ == "__main__":
    print(f"1 + 1 = {hello(1)}")
