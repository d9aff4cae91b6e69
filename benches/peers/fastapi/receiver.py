"""The callback endpoint that a Python team writes: FastAPI, fastjsonschema, aio-pika with publisher confirms.

A callback is answered 202 when the broker has confirmed each of its events on one durable quorum queue (persistent,
mandatory), 422 when an event does not fit the schema of its type, 503 when the broker did not take it.
"""

import json
import os
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import fastjsonschema
from aio_pika.exceptions import AMQPException, DeliveryError
from fastapi import FastAPI, HTTPException, Request

QUEUE = os.environ["PEER_QUEUE"]
SCHEMAS = Path(os.environ["PEER_SCHEMAS"])


def schema(path):
    """A schema with the files that it refers to inlined."""

    def resolve(part):
        if isinstance(part, list):
            return [resolve(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return schema(path.parent / part["$ref"])
        return {name: resolve(value) for name, value in part.items() if name != "$schema"}

    return resolve(json.loads(path.read_text()))


def validators():
    rows = json.loads((SCHEMAS / "catalog.json").read_text())["events"]
    return {
        row["type"]: fastjsonschema.compile(schema(SCHEMAS / row["schema"]))
        for row in rows
        if row["generation"] == "ga"
    }


@asynccontextmanager
async def lifespan(app):
    app.state.validators = validators()
    connection = await aio_pika.connect_robust(os.environ["PEER_AMQP"])
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        app.state.exchange = channel.default_exchange
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/callbacks/{name:path}", status_code=202)
async def callback(name: str, request: Request):
    try:
        events = await request.json()
    except ValueError:
        raise HTTPException(400, "not JSON") from None
    for event in events if isinstance(events, list) else [events]:
        validate = request.app.state.validators.get(event.get("type"))
        if validate is None:
            raise HTTPException(422, "unknown type")
        try:
            validate(event.get("data"))
        except fastjsonschema.JsonSchemaValueException as error:
            raise HTTPException(422, error.message) from None
        message = aio_pika.Message(
            json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(),
            content_type="application/cloudevents+json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=event["id"],
        )
        try:
            await request.app.state.exchange.publish(message, routing_key=QUEUE, mandatory=True)
        except (DeliveryError, AMQPException, ConnectionError, RuntimeError):
            raise HTTPException(503, "the broker did not take it", {"Retry-After": "1"}) from None
    return {"accepted": True}
