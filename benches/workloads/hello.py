"""The smallest useful script: a flow with one task. `hello.py ENGINE`; whoever starts it measures the whole process."""

import sys

engine = __import__(sys.argv[1])


@engine.task
def add_one(n):
    return n + 1


@engine.flow
def hello(n):
    return add_one(n)


print(f'{{"answer": {hello(1)}}}')
