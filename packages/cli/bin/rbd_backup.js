#!/usr/bin/env node
import '../dist/rbd-backup/main.js';
