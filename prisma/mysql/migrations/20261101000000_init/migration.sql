-- CreateTable
CREATE TABLE `stored_events` (
    `id` BIGINT NOT NULL,
    `originator_id` VARBINARY(255) NOT NULL,
    `originator_version` BIGINT NOT NULL,
    `topic` TEXT NOT NULL,
    `state` LONGBLOB NOT NULL,
    `metadata` JSON NULL,
    `recorded_at` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),

    UNIQUE INDEX `stored_events_originator_id_originator_version_key`(`originator_id`, `originator_version`),
    PRIMARY KEY (`id`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- CreateTable
CREATE TABLE `stored_snapshots` (
    `originator_id` VARBINARY(255) NOT NULL,
    `originator_version` BIGINT NOT NULL,
    `topic` TEXT NOT NULL,
    `state` LONGBLOB NOT NULL,
    `metadata` JSON NULL,
    `recorded_at` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),

    PRIMARY KEY (`originator_id`, `originator_version`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- CreateTable
CREATE TABLE `notification_tracking` (
    `application_name` VARBINARY(3072) NOT NULL,
    `notification_id` BIGINT NOT NULL,

    PRIMARY KEY (`application_name`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- CreateTable
CREATE TABLE `subject_keys` (
    `subject` VARBINARY(1020) NOT NULL,
    `key` VARBINARY(1024) NOT NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),

    PRIMARY KEY (`subject`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- CreateTable
CREATE TABLE `idempotency_keys` (
    `scope` VARBINARY(1020) NOT NULL,
    `key` VARBINARY(1020) NOT NULL,
    `fingerprint` VARBINARY(64) NOT NULL,
    `status` INTEGER NOT NULL,
    `headers` JSON NOT NULL,
    `body` LONGBLOB NOT NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    `expires_at` DATETIME(3) NOT NULL,

    INDEX `idempotency_keys_expires_at_idx`(`expires_at`),
    PRIMARY KEY (`scope`, `key`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- CreateTable
CREATE TABLE `notification_positions` (
    `log` VARCHAR(64) NOT NULL,
    `notification_id` BIGINT NOT NULL,

    PRIMARY KEY (`log`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

