"""A small OpenML on loopback: real HTTP for the real openml client, data sets made from scikit-learn's, and faults.

A fault is taken up by the next request whose path starts as it says: `error` (HTTP 500 with a page that is no XML),
`busy` (OpenML's own code 107), `cut` (half of the promised bytes, then the line drops), `wrong` (other bytes of the
same length), `silent` (nothing at all for a while).
"""

import contextlib
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import arff
import pandas as pd

NAMESPACE = 'xmlns:oml="http://openml.org/openml"'
SILENCE = 2.0  # seconds
Splits = dict[tuple[int, int], tuple[list[int], list[int]]]  # (repeat, fold) -> training and test rows


@dataclass
class Data:
    name: str
    frame: pd.DataFrame
    target: str
    parquet: bool = False
    format: str = "ARFF"
    dtypes: dict[str, str] = field(default_factory=dict)  # OpenML types other than numeric and nominal

    def kind(self, column: str) -> str:
        nominal = not pd.api.types.is_numeric_dtype(self.frame[column])
        return self.dtypes.get(column, "nominal" if nominal else "numeric")

    def arff(self) -> bytes:
        types = {"numeric": lambda c: "REAL", "string": lambda c: "STRING", "nominal": self._levels}
        attributes = [(c, types[self.kind(c)](c)) for c in self.frame]
        rows = self.frame.astype(object).where(self.frame.notna(), None).to_numpy().tolist()
        return arff.dumps({"relation": self.name, "attributes": attributes, "data": rows}).encode()

    def _levels(self, column: str) -> list[str]:
        return sorted(self.frame[column].dropna().unique())

    def pq(self) -> bytes:
        return self.frame.to_parquet(index=False)


class Server:
    def __init__(self) -> None:
        self.data: dict[int, Data] = {}
        self.tasks: dict[int, tuple[int, int]] = {}  # task id -> (type, data id)
        self.splits: dict[int, Splits] = {}  # task id -> its splits; other tasks have none
        self.faults: list[tuple[str, str]] = []  # (start of the path, fault)
        self.requests: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": self}))
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def fault_for(self, path: str) -> str | None:
        with self.lock:
            self.requests[path] += 1
            for i, (start, fault) in enumerate(self.faults):
                if path.startswith(start):
                    del self.faults[i]
                    return fault
        return None

    def answer(self, path: str) -> tuple[int, bytes]:
        *_, kind, number = path.strip("/").split("/") if "/" in path.strip("/") else ("", "", "0")
        if path.startswith("/api/v1/xml/task/"):
            return self._task(int(number))
        if path.startswith("/data/download/"):
            return 200, self.data[int(number)].arff()
        if path.startswith("/splits/"):
            return 200, splits_arff(self.splits[int(number)])
        if path.startswith("/bucket/"):
            return 200, self.data[int(kind)].pq()
        if int(number) not in self.data:
            return 412, error_xml(111, "Unknown dataset")
        page = self._features if kind == "features" else self._description
        return 200, page(int(number)).encode()

    def _task(self, number: int) -> tuple[int, bytes]:
        if number not in self.tasks:
            return 412, error_xml(151, "Unknown task")
        kind, data_id = self.tasks[number]
        names = {1: "Supervised Classification", 2: "Supervised Regression", 5: "Clustering", 7: "Survival Analysis"}
        target = f"<oml:target_feature>{self.data[data_id].target}</oml:target_feature>" if kind < 3 else ""
        return 200, (
            f"<oml:task {NAMESPACE}><oml:task_id>{number}</oml:task_id><oml:task_type_id>{kind}</oml:task_type_id>"
            f"<oml:task_type>{names[kind]}</oml:task_type><oml:input name='source_data'><oml:data_set>"
            f"<oml:data_set_id>{data_id}</oml:data_set_id>{target}</oml:data_set></oml:input>"
            "<oml:input name='estimation_procedure'><oml:estimation_procedure><oml:type>crossvalidation</oml:type>"
            f"<oml:data_splits_url>{self._splits_url(number)}</oml:data_splits_url>"
            "<oml:parameter name='number_repeats'>1</oml:parameter>"
            "<oml:parameter name='number_folds'>10</oml:parameter></oml:estimation_procedure></oml:input></oml:task>"
        ).encode()

    def _splits_url(self, number: int) -> str:
        return f"{self.url}/splits/{number}" if number in self.splits else "none"

    def _description(self, number: int) -> str:
        data = self.data[number]
        parquet = f"{self.url}/bucket/{number}/dataset.pq"
        return (
            f"<oml:data_set_description {NAMESPACE}><oml:id>{number}</oml:id><oml:name>{data.name}</oml:name>"
            f"<oml:version>1</oml:version><oml:format>{data.format}</oml:format><oml:licence>CC BY 4.0</oml:licence>"
            f"<oml:url>{self.url}/data/download/{number}</oml:url>"
            + (f"<oml:parquet_url>{parquet}</oml:parquet_url>" if data.parquet else "")
            + f"<oml:default_target_attribute>{data.target}</oml:default_target_attribute>"
            f"<oml:md5_checksum>{hashlib.md5(data.arff()).hexdigest()}</oml:md5_checksum></oml:data_set_description>"
        )

    def _features(self, number: int) -> str:
        data = self.data[number]
        features = "".join(
            f"<oml:feature><oml:index>{i}</oml:index><oml:name>{c}</oml:name>"
            f"<oml:data_type>{data.kind(c)}</oml:data_type>{self._nominal_values(data, c)}"
            f"<oml:number_of_missing_values>{data.frame[c].isna().sum()}</oml:number_of_missing_values></oml:feature>"
            for i, c in enumerate(data.frame)
        )
        return f"<oml:data_features {NAMESPACE}>{features}</oml:data_features>"

    @staticmethod
    def _nominal_values(data: Data, column: str) -> str:
        if data.kind(column) != "nominal":
            return ""
        return "".join(f"<oml:nominal_value>{v}</oml:nominal_value>" for v in data.frame[column].dropna().unique())


def splits_arff(splits: Splits) -> bytes:
    rows = [
        (use, float(row), float(repeat), float(fold))
        for (repeat, fold), parts in splits.items()
        for use, numbers in zip(("TRAIN", "TEST"), parts, strict=True)
        for row in numbers
    ]
    attributes = [("type", ["TRAIN", "TEST"]), *((name, "NUMERIC") for name in ("rowid", "repeat", "fold"))]
    return arff.dumps({"relation": "splits", "attributes": attributes, "data": rows}).encode()


def error_xml(code: int, message: str) -> bytes:
    error = f"<oml:code>{code}</oml:code><oml:message>{message}</oml:message>"
    return f"<oml:error {NAMESPACE}>{error}</oml:error>".encode()


class Handler(BaseHTTPRequestHandler):
    site: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._send(*self.site.answer(self.path.partition("?")[0]), body=False)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        fault = self.site.fault_for(path)
        status, content = self.site.answer(path)
        if fault == "silent":
            time.sleep(SILENCE)
        elif fault == "error":
            status, content = 500, b"Internal Server Error <"
        elif fault == "busy":
            status, content = 412, error_xml(107, "Database connection error")
        elif fault == "wrong":
            content = content[:-5] + b"9" * 5
        self._send(status, content, cut=fault == "cut")

    def _send(self, status: int, content: bytes, body: bool = True, cut: bool = False) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a client that gave up, or was killed
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            self.send_header("Content-Type", "application/octet-stream")
            self.end_headers()
            if body:
                self.wfile.write(content[: len(content) // 2] if cut else content)
                self.wfile.flush()
            if cut:
                self.close_connection = True
                self.connection.shutdown(2)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
