export { check as checkConfiguration, ConfigurationError } from './check';
export { TransshipCode } from './code';
export type * from './generated/configuration';
export { addOutputs } from './outputs';
export type { AlarmProps, EventKinds, TransshipProps } from './props';
export { Transship } from './transship';
