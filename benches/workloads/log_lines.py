"""A task that logs lines. `log_lines.py ENGINE COUNT`."""

from time import perf_counter

from common import count, engine, report

flow, get_run_logger, task = engine().flow, engine().get_run_logger, engine().task
COUNT = count()


@task
def talk():
    logger = get_run_logger()
    start = perf_counter()
    for n in range(COUNT):
        logger.info("line %d", n)
    return perf_counter() - start


@flow
def talking():
    return talk()


begin = perf_counter()
seconds = talking()
report(us_each=seconds / COUNT * 1e6, us_each_with_flow=(perf_counter() - begin) / COUNT * 1e6)
