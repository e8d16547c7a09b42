-- CreateTable
CREATE TABLE "stored_events" (
    "id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "originator_id" TEXT NOT NULL,
    "originator_version" BIGINT NOT NULL,
    "topic" TEXT NOT NULL,
    "state" BLOB NOT NULL,
    "metadata" JSONB,
    "recorded_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- CreateTable
CREATE TABLE "stored_event_tags" (
    "tag" TEXT NOT NULL,
    "notification_id" BIGINT NOT NULL,

    PRIMARY KEY ("tag", "notification_id")
);

-- CreateTable
CREATE TABLE "stored_snapshots" (
    "originator_id" TEXT NOT NULL,
    "originator_version" BIGINT NOT NULL,
    "topic" TEXT NOT NULL,
    "state" BLOB NOT NULL,
    "metadata" JSONB,
    "recorded_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,

    PRIMARY KEY ("originator_id", "originator_version")
);

-- CreateTable
CREATE TABLE "notification_tracking" (
    "application_name" TEXT NOT NULL PRIMARY KEY,
    "notification_id" BIGINT NOT NULL
);

-- CreateTable
CREATE TABLE "subject_keys" (
    "subject" TEXT NOT NULL PRIMARY KEY,
    "key" BLOB NOT NULL,
    "created_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- CreateTable
CREATE TABLE "projections" (
    "name" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "upstream" TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    "partitions" INTEGER NOT NULL,
    "position" BIGINT NOT NULL,
    "epoch" BIGINT NOT NULL,
    "owner" TEXT,
    "leased_until" DATETIME,

    PRIMARY KEY ("name", "version", "upstream", "partition")
);

-- CreateTable
CREATE TABLE "projection_states" (
    "name" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "wanted" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "target" BIGINT,
    "reason" TEXT,
    "failed_position" BIGINT,
    "updated_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,

    PRIMARY KEY ("name", "version")
);

-- CreateTable
CREATE TABLE "parked_events" (
    "name" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "notification_id" BIGINT NOT NULL,
    "key" TEXT NOT NULL,
    "attempts" INTEGER NOT NULL,
    "error" TEXT NOT NULL,
    "parked_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,

    PRIMARY KEY ("name", "version", "notification_id")
);

-- CreateTable
CREATE TABLE "inbox_messages" (
    "source" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "received_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,

    PRIMARY KEY ("source", "id")
);

-- CreateTable
CREATE TABLE "timers" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "topic" TEXT NOT NULL,
    "due_at" DATETIME NOT NULL,
    "next_at" DATETIME,
    "attempts" INTEGER NOT NULL,
    "epoch" BIGINT NOT NULL,
    "error" TEXT,
    "state" BLOB NOT NULL
);

-- CreateTable
CREATE TABLE "idempotency_keys" (
    "scope" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "fingerprint" BLOB NOT NULL,
    "status" INTEGER NOT NULL,
    "headers" JSONB NOT NULL,
    "body" BLOB NOT NULL,
    "created_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" DATETIME NOT NULL,

    PRIMARY KEY ("scope", "key")
);

-- CreateIndex
CREATE UNIQUE INDEX "stored_events_originator_id_originator_version_key" ON "stored_events"("originator_id", "originator_version");

-- CreateIndex
CREATE INDEX "inbox_messages_received_at_idx" ON "inbox_messages"("received_at");

-- CreateIndex
CREATE INDEX "timers_next_at_idx" ON "timers"("next_at");

-- CreateIndex
CREATE INDEX "idempotency_keys_expires_at_idx" ON "idempotency_keys"("expires_at");
