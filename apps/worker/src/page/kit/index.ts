export { type ChartLine, type ChartSpec, Charts } from './charts.js';
export { byId, element, setState, setText } from './dom.js';
export { clock, percent, short, whole } from './format.js';
export { colour, startTheme } from './theme.js';
