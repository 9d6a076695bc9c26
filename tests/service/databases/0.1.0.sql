BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE cifar_tune_leases (
	study VARCHAR(100) NOT NULL, 
	token VARCHAR(32) NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	pid INTEGER NOT NULL, 
	process_started VARCHAR(64) NOT NULL, 
	expires FLOAT NOT NULL, 
	PRIMARY KEY (study)
);
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'earlier');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["val_accuracy"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'spec','{"name": "earlier", "objective": {"metric": "val_accuracy", "direction": "maximize"}, "constraints": [], "budget": {"trials": 3, "timeout": null, "trial_timeout": null}, "sampler": {"name": "random", "seed": 1}, "pruner": {"name": "median"}, "data": {"name": "digits", "root": null, "ignore": null, "path_column": null, "label_column": null, "split_column": null, "image_size": 32, "resize": null, "val_size": 100, "folds": null, "fold": null, "train_size": 100, "split_seed": 0, "download": true}, "train": {"model": "cnn3", "width": 4, "epochs": 2, "batch_size": 50}, "search_space": {"lr": {"low": 0.001, "high": 0.1, "log": true}}, "defaults": {"zero_init_residual": true, "cuda_graphs": true, "repeatable": true}}');
INSERT INTO "study_user_attributes" VALUES(2,1,'identity','"53f221b633614bbcb123c9463a13f092"');
INSERT INTO "study_user_attributes" VALUES(3,1,'data','{"fingerprint": "3bf6fa43c51b97636cc665a8faa6597250476ae16c26d7ca5b61294ccc5d6c42", "classes": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], "train_images": 100, "val_images": 100, "image_shape": [3, 32, 32], "splits": "validation: drawn; test: a sixth of all (only finalize opens it)", "resize": "squash"}');
INSERT INTO "study_user_attributes" VALUES(4,1,'environment','{"cifar_tune": "0.1.0", "optuna": "5.0.0", "python": "3.11.7", "torch": "2.14.1+cu130", "platform": "Linux x86_64", "device": "cpu", "device_name": "AMD EPYC", "cpu_capability": "AVX2"}');
INSERT INTO "study_user_attributes" VALUES(5,1,'elapsed_seconds','1.6');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,0.1,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,0.1,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,2,1,0.1,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,2,0.1,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,3,1,0.1,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,3,2,0.1,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'lr',1.66726107528379942357e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(2,2,'lr',3.43673213987847822603e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(3,3,'lr',1.41720486371776175499e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'config','{"model": "cnn3", "width": 4, "norm": "batch", "bn_momentum": 0.1, "activation": "relu", "dropout": 0.0, "init_from": "none", "frozen_stages": 0, "stage_lr_decay": 1.0, "optimizer": "sgd", "lr": 0.016672610752837994, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "decay_norm_and_bias": true, "norm_bias_lr_factor": 1.0, "l1": 0.0, "clip_grad_norm": 0.0, "ema_decay": 0.0, "lookahead": "none", "batch_size": 50, "sampling": "uniform", "epochs": 2, "patience": 0, "schedule": "one_cycle", "pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 10000.0, "warmup_epochs": 0.0, "loss": "cross_entropy", "label_smoothing": 0.0, "class_weights": "none", "augment": "none", "normalization": "standardize", "normalization_sample": 1.0, "test_time_augmentation": "none", "compile": false, "cuda_graphs": true, "repeatable": true, "on_oom": "prune", "precision": "auto", "seed": 0, "threads": 1}');
INSERT INTO "trial_user_attributes" VALUES(2,1,'device','"cpu"');
INSERT INTO "trial_user_attributes" VALUES(3,1,'parameters','6158');
INSERT INTO "trial_user_attributes" VALUES(4,1,'flops','262560');
INSERT INTO "trial_user_attributes" VALUES(5,1,'precision','"fp32"');
INSERT INTO "trial_user_attributes" VALUES(6,1,'epochs','2');
INSERT INTO "trial_user_attributes" VALUES(7,1,'seconds','0.319');
INSERT INTO "trial_user_attributes" VALUES(8,1,'history','{"train_loss": [2.31677673, 2.31135849], "train_accuracy": [0.1, 0.1], "val_loss": [2.3130986, 2.31317932], "val_accuracy": [0.1, 0.1], "lr": [0.0135339193, 6.6690443e-08], "seconds": [0.136168292, 0.18280428]}');
INSERT INTO "trial_user_attributes" VALUES(9,1,'reason','"completed"');
INSERT INTO "trial_user_attributes" VALUES(10,2,'config','{"model": "cnn3", "width": 4, "norm": "batch", "bn_momentum": 0.1, "activation": "relu", "dropout": 0.0, "init_from": "none", "frozen_stages": 0, "stage_lr_decay": 1.0, "optimizer": "sgd", "lr": 0.0034367321398784782, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "decay_norm_and_bias": true, "norm_bias_lr_factor": 1.0, "l1": 0.0, "clip_grad_norm": 0.0, "ema_decay": 0.0, "lookahead": "none", "batch_size": 50, "sampling": "uniform", "epochs": 2, "patience": 0, "schedule": "one_cycle", "pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 10000.0, "warmup_epochs": 0.0, "loss": "cross_entropy", "label_smoothing": 0.0, "class_weights": "none", "augment": "none", "normalization": "standardize", "normalization_sample": 1.0, "test_time_augmentation": "none", "compile": false, "cuda_graphs": true, "repeatable": true, "on_oom": "prune", "precision": "auto", "seed": 0, "threads": 1}');
INSERT INTO "trial_user_attributes" VALUES(11,2,'device','"cpu"');
INSERT INTO "trial_user_attributes" VALUES(12,2,'parameters','6158');
INSERT INTO "trial_user_attributes" VALUES(13,2,'flops','262560');
INSERT INTO "trial_user_attributes" VALUES(14,2,'precision','"fp32"');
INSERT INTO "trial_user_attributes" VALUES(15,2,'epochs','2');
INSERT INTO "trial_user_attributes" VALUES(16,2,'seconds','0.22');
INSERT INTO "trial_user_attributes" VALUES(17,2,'history','{"train_loss": [2.3167746, 2.31541321], "train_accuracy": [0.1, 0.1], "val_loss": [2.31317444, 2.31331467], "val_accuracy": [0.1, 0.1], "lr": [0.00278975238, 1.37469286e-08], "seconds": [0.129334418, 0.091159806]}');
INSERT INTO "trial_user_attributes" VALUES(18,2,'reason','"completed"');
INSERT INTO "trial_user_attributes" VALUES(19,3,'config','{"model": "cnn3", "width": 4, "norm": "batch", "bn_momentum": 0.1, "activation": "relu", "dropout": 0.0, "init_from": "none", "frozen_stages": 0, "stage_lr_decay": 1.0, "optimizer": "sgd", "lr": 0.014172048637177618, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "decay_norm_and_bias": true, "norm_bias_lr_factor": 1.0, "l1": 0.0, "clip_grad_norm": 0.0, "ema_decay": 0.0, "lookahead": "none", "batch_size": 50, "sampling": "uniform", "epochs": 2, "patience": 0, "schedule": "one_cycle", "pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 10000.0, "warmup_epochs": 0.0, "loss": "cross_entropy", "label_smoothing": 0.0, "class_weights": "none", "augment": "none", "normalization": "standardize", "normalization_sample": 1.0, "test_time_augmentation": "none", "compile": false, "cuda_graphs": true, "repeatable": true, "on_oom": "prune", "precision": "auto", "seed": 0, "threads": 1}');
INSERT INTO "trial_user_attributes" VALUES(20,3,'device','"cpu"');
INSERT INTO "trial_user_attributes" VALUES(21,3,'parameters','6158');
INSERT INTO "trial_user_attributes" VALUES(22,3,'flops','262560');
INSERT INTO "trial_user_attributes" VALUES(23,3,'precision','"fp32"');
INSERT INTO "trial_user_attributes" VALUES(24,3,'epochs','2');
INSERT INTO "trial_user_attributes" VALUES(25,3,'seconds','0.257');
INSERT INTO "trial_user_attributes" VALUES(26,3,'history','{"train_loss": [2.31677673, 2.3121167], "train_accuracy": [0.1, 0.1], "val_loss": [2.31311325, 2.31320328], "val_accuracy": [0.1, 0.1], "lr": [0.0115040989, 5.66881945e-08], "seconds": [0.123124266, 0.133703053]}');
INSERT INTO "trial_user_attributes" VALUES(27,3,'reason','"completed"');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.1,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,0.1,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,0.1,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-28 10:14:22.711826','2026-11-28 10:14:23.575462');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-28 10:14:23.411398','2026-11-28 10:14:23.882721');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-28 10:14:23.886726','2026-11-28 10:14:24.372378');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
