"""The query that counts windows, on DuckDB and on Spark: key by key what the package counts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import ntp_lite as ntp

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from out_of_core import counting_query  # noqa: E402 (a script beside the package)

V, C = 7, 2
NAMES = [f"t{i}" for i in range(C + 1)]
IDS = np.random.default_rng(0).integers(0, V, 500) * np.random.default_rng(1).integers(0, 2, 500)


def windows():
    return {name: IDS[i : len(IDS) - C + i] for i, name in enumerate(NAMES)}


def expected():
    labels = ntp.SoftLabels.from_tokens(IDS, C, V)
    tokens, columns = labels.entries
    contexts = labels.contexts[columns].tolist()
    return {
        (*context, token): count
        for context, token, count in zip(
            contexts, tokens.tolist(), labels.N.data.tolist(), strict=True
        )
    }


def as_counts(rows):
    rows = [tuple(int(x) for x in row) for row in rows]
    found = {row[:-1]: row[-1] for row in rows}
    assert len(found) == len(rows)  # each window once
    return found


def test_duckdb_counts_what_the_package_counts():
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as db:
        db.register("windows", windows())
        assert as_counts(db.execute(counting_query(NAMES)).fetchall()) == expected()
        fewer = counting_query(NAMES[:-1])  # mutation: the next token is not grouped by
        assert as_counts(db.execute(fewer).fetchall()) != expected()


def test_spark_counts_what_the_package_counts():
    if shutil.which("java") is None:
        pytest.skip("There is no Java here, which Spark needs.")
    sql = pytest.importorskip("pyspark.sql", reason="pip install pyspark")
    options = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
    }
    builder = sql.SparkSession.builder.master("local[1]")
    for name, value in options.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        rows = list(zip(*(column.tolist() for column in windows().values()), strict=True))
        spark.createDataFrame(rows, NAMES).createOrReplaceTempView("windows")
        assert as_counts(spark.sql(counting_query(NAMES)).collect()) == expected()
    finally:
        spark.stop()
