-- CreateTable
CREATE TABLE "Owner" (
    "id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "name" TEXT NOT NULL,
    "dog" TEXT NOT NULL,
    "treats" INTEGER NOT NULL DEFAULT 0
);

-- CreateTable
CREATE TABLE "trainingschool_events" (
    "id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "originator_id" TEXT NOT NULL,
    "originator_version" BIGINT NOT NULL,
    "topic" TEXT NOT NULL,
    "state" BLOB NOT NULL,
    "metadata" JSONB,
    "recorded_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- CreateTable
CREATE TABLE "trainingschool_snapshots" (
    "originator_id" TEXT NOT NULL,
    "originator_version" BIGINT NOT NULL,
    "topic" TEXT NOT NULL,
    "state" BLOB NOT NULL,
    "metadata" JSONB,
    "recorded_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,

    PRIMARY KEY ("originator_id", "originator_version")
);

-- CreateTable
CREATE TABLE "trainingschool_tracking" (
    "application_name" TEXT NOT NULL PRIMARY KEY,
    "notification_id" BIGINT NOT NULL
);

-- CreateTable
CREATE TABLE "trainingschool_keys" (
    "subject" TEXT NOT NULL PRIMARY KEY,
    "key" BLOB NOT NULL,
    "created_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
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
CREATE UNIQUE INDEX "Owner_dog_key" ON "Owner"("dog");

-- CreateIndex
CREATE UNIQUE INDEX "trainingschool_events_originator_id_originator_version_key" ON "trainingschool_events"("originator_id", "originator_version");

-- CreateIndex
CREATE INDEX "idempotency_keys_expires_at_idx" ON "idempotency_keys"("expires_at");
