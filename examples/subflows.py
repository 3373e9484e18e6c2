"""Flows in a flow: each shop's total is a flow run of its own, linked to the report that asked for it."""

from tidemill import flow, task

SALES = {"harbour": [12, 30, 7], "market": [25, 18], "station": [9, 9, 9, 9]}


@task
def add_up(amounts: list[int]) -> int:
    return sum(amounts)


@flow
def shop_total(shop: str) -> int:
    return add_up(SALES[shop])


@flow
def report(shops: list[str]) -> dict[str, int]:
    return {shop: shop_total(shop) for shop in shops}


if __name__ == "__main__":
    totals = report(list(SALES))
    print(", ".join(f"{shop} {total}" for shop, total in totals.items()))
