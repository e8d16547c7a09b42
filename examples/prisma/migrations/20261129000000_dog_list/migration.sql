-- CreateTable
CREATE TABLE "ListedDog" (
    "dog" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "tricks" INTEGER NOT NULL
);

-- CreateTable
CREATE TABLE "trainingschool_event_tags" (
    "tag" TEXT NOT NULL,
    "notification_id" BIGINT NOT NULL,

    PRIMARY KEY ("tag", "notification_id")
);

-- CreateTable
CREATE TABLE "trainingschool_projections" (
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
CREATE TABLE "trainingschool_projection_states" (
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
CREATE TABLE "trainingschool_parked_events" (
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
CREATE TABLE "trainingschool_timers" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "topic" TEXT NOT NULL,
    "due_at" DATETIME NOT NULL,
    "next_at" DATETIME,
    "attempts" INTEGER NOT NULL,
    "epoch" BIGINT NOT NULL,
    "error" TEXT,
    "state" BLOB NOT NULL
);

-- CreateIndex
CREATE INDEX "trainingschool_timers_next_at_idx" ON "trainingschool_timers"("next_at");

-- CreateIndex
CREATE INDEX "ListedDog_name_idx" ON "ListedDog"("name");
