import { wireSuite } from './wire.suite.js';

wireSuite('plain');
