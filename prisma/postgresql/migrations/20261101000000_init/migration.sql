-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "public";

-- CreateTable
CREATE TABLE "stored_events" (
    "id" BIGSERIAL NOT NULL,
    "originator_id" UUID NOT NULL,
    "originator_version" BIGINT NOT NULL,
    "topic" TEXT NOT NULL,
    "state" BYTEA NOT NULL,
    "metadata" JSONB,
    "recorded_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "stored_events_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "stored_event_tags" (
    "tag" TEXT NOT NULL,
    "notification_id" BIGINT NOT NULL,

    CONSTRAINT "stored_event_tags_pkey" PRIMARY KEY ("tag","notification_id")
);

-- CreateTable
CREATE TABLE "stored_snapshots" (
    "originator_id" UUID NOT NULL,
    "originator_version" BIGINT NOT NULL,
    "topic" TEXT NOT NULL,
    "state" BYTEA NOT NULL,
    "metadata" JSONB,
    "recorded_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "stored_snapshots_pkey" PRIMARY KEY ("originator_id","originator_version")
);

-- CreateTable
CREATE TABLE "notification_tracking" (
    "application_name" TEXT NOT NULL,
    "notification_id" BIGINT NOT NULL,

    CONSTRAINT "notification_tracking_pkey" PRIMARY KEY ("application_name")
);

-- CreateTable
CREATE TABLE "subject_keys" (
    "subject" TEXT NOT NULL,
    "key" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "subject_keys_pkey" PRIMARY KEY ("subject")
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
    "leased_until" TIMESTAMPTZ(6),

    CONSTRAINT "projections_pkey" PRIMARY KEY ("name","version","upstream","partition")
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
    "updated_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "projection_states_pkey" PRIMARY KEY ("name","version")
);

-- CreateTable
CREATE TABLE "parked_events" (
    "name" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "notification_id" BIGINT NOT NULL,
    "key" TEXT NOT NULL,
    "attempts" INTEGER NOT NULL,
    "error" TEXT NOT NULL,
    "parked_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "parked_events_pkey" PRIMARY KEY ("name","version","notification_id")
);

-- CreateTable
CREATE TABLE "inbox_messages" (
    "source" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "received_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "inbox_messages_pkey" PRIMARY KEY ("source","id")
);

-- CreateTable
CREATE TABLE "timers" (
    "id" TEXT NOT NULL,
    "topic" TEXT NOT NULL,
    "due_at" TIMESTAMPTZ(6) NOT NULL,
    "next_at" TIMESTAMPTZ(6),
    "attempts" INTEGER NOT NULL,
    "epoch" BIGINT NOT NULL,
    "error" TEXT,
    "state" BYTEA NOT NULL,

    CONSTRAINT "timers_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "idempotency_keys" (
    "scope" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "fingerprint" BYTEA NOT NULL,
    "status" INTEGER NOT NULL,
    "headers" JSONB NOT NULL,
    "body" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(6) NOT NULL,

    CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY ("scope","key")
);

-- CreateIndex
CREATE UNIQUE INDEX "stored_events_originator_id_originator_version_key" ON "stored_events"("originator_id", "originator_version");

-- CreateIndex
CREATE INDEX "inbox_messages_received_at_idx" ON "inbox_messages"("received_at");

-- CreateIndex
CREATE INDEX "timers_next_at_idx" ON "timers"("next_at");

-- CreateIndex
CREATE INDEX "idempotency_keys_expires_at_idx" ON "idempotency_keys"("expires_at");
