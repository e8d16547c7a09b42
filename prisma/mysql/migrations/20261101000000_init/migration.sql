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
CREATE TABLE `stored_event_tags` (
    `tag` VARBINARY(255) NOT NULL,
    `notification_id` BIGINT NOT NULL,

    PRIMARY KEY (`tag`, `notification_id`)
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
CREATE TABLE `projections` (
    `name` VARBINARY(255) NOT NULL,
    `version` INTEGER NOT NULL,
    `upstream` VARBINARY(255) NOT NULL,
    `partition` INTEGER NOT NULL,
    `partitions` INTEGER NOT NULL,
    `position` BIGINT NOT NULL,
    `epoch` BIGINT NOT NULL,
    `owner` VARCHAR(191) NULL,
    `leased_until` DATETIME(3) NULL,

    PRIMARY KEY (`name`, `version`, `upstream`, `partition`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- CreateTable
CREATE TABLE `projection_states` (
    `name` VARBINARY(255) NOT NULL,
    `version` INTEGER NOT NULL,
    `wanted` VARCHAR(191) NOT NULL,
    `status` VARCHAR(191) NOT NULL,
    `target` BIGINT NULL,
    `reason` TEXT NULL,
    `failed_position` BIGINT NULL,
    `updated_at` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),

    PRIMARY KEY (`name`, `version`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- CreateTable
CREATE TABLE `parked_events` (
    `name` VARBINARY(255) NOT NULL,
    `version` INTEGER NOT NULL,
    `notification_id` BIGINT NOT NULL,
    `key` VARBINARY(1020) NOT NULL,
    `attempts` INTEGER NOT NULL,
    `error` TEXT NOT NULL,
    `parked_at` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),

    PRIMARY KEY (`name`, `version`, `notification_id`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- CreateTable
CREATE TABLE `inbox_messages` (
    `source` VARBINARY(1020) NOT NULL,
    `id` VARBINARY(1020) NOT NULL,
    `received_at` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),

    INDEX `inbox_messages_received_at_idx`(`received_at`),
    PRIMARY KEY (`source`, `id`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- CreateTable
CREATE TABLE `timers` (
    `id` VARBINARY(1020) NOT NULL,
    `topic` VARBINARY(1020) NOT NULL,
    `due_at` DATETIME(3) NOT NULL,
    `next_at` DATETIME(3) NULL,
    `attempts` INTEGER NOT NULL,
    `epoch` BIGINT NOT NULL,
    `error` TEXT NULL,
    `state` LONGBLOB NOT NULL,

    INDEX `timers_next_at_idx`(`next_at`),
    PRIMARY KEY (`id`)
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

