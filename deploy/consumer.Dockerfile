# syntax=docker/dockerfile:1
# The example consumer: docker build --file deploy/consumer.Dockerfile --tag hookswitch-consumer:0.1.0 examples/python
FROM python:3.13-slim-bookworm
WORKDIR /app
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY requirements.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/consumer
COPY consumer.py ./
USER 10001:10001
# The consumer's database of handled events.
VOLUME ["/var/lib/consumer"]
ENTRYPOINT ["python", "consumer.py"]
