/** What the error numbers of MariaDB, of MySQL and of their driver mean. @see https://mariadb.com/kb/en/mariadb-error-code-reference/ */
import type { ErrorRule } from './error-rules.js'

const lostByServer = ['1053', '1080', '1152', '1158', '1159', '1160', '1161', '1184', '1927', '2006', '2013', '4031']
const lostByDriver = ['2002', '2003', '45009', '45012', '45013', '45014', '45015', '45026', '45042', '45043']

/** The server goes down or the connection is gone; the driver's own numbers begin with 45,000. */
export const connectionLostCodes: readonly string[] = [...lostByServer, ...lostByDriver]

/** By number. */
export const mariadbErrors: readonly ErrorRule[] = [
  {
    codes: ['1205', '1213', '1020', '1637', '3572'],
    kind: 'passing',
    meaning: 'a lock was not granted in time, deadlock, a row changed since it was read',
  },
  {
    codes: ['1317', '1969', '3024', '1028'],
    kind: 'passing',
    meaning: 'interrupted, or ended by a timeout of the server',
  },
  { codes: connectionLostCodes, kind: 'passing', meaning: 'the connection was lost; the server stops' },
  {
    codes: ['1040', '1203', '1226', '45028'],
    kind: 'passing',
    meaning: 'too many connections, the pool gave none in time',
  },
  {
    codes: ['1021', '1037', '1038', '1041', '1114', '1135', '1206', '1297'],
    kind: 'lasting',
    meaning: 'disk or table full, out of memory, the table of locks is full',
  },
  {
    codes: ['1044', '1045', '1049', '1129', '1130', '1142', '1143', '1227', '1290', '1698', '1820', '1836'],
    kind: 'lasting',
    meaning: 'access denied, no such database, the server is read-only',
  },
  {
    codes: [
      '1022',
      '1048',
      '1062',
      '1169',
      '1216',
      '1217',
      '1263',
      '1364',
      '1451',
      '1452',
      '1557',
      '1586',
      '1761',
      '1762',
      '3819',
      '4025',
    ],
    kind: 'integrity',
    meaning: 'a constraint',
  },
  {
    codes: [
      '1118',
      '1153',
      '1162',
      '1264',
      '1265',
      '1292',
      '1301',
      '1366',
      '1367',
      '1406',
      '1411',
      '1416',
      '1425',
      '1426',
      '1427',
      '1441',
      '1690',
      '3140',
      '4038',
    ],
    kind: 'data',
    meaning: 'a value that does not fit; a packet larger than max_allowed_packet',
  },
  {
    codes: [
      '1046',
      '1051',
      '1052',
      '1054',
      '1058',
      '1064',
      '1065',
      '1136',
      '1146',
      '1149',
      '1166',
      '1210',
      '1243',
      '1305',
      '1568',
      '1792',
    ],
    kind: 'programming',
    meaning: 'no such table or column, a wrong statement, a write in a read-only transaction',
  },
  { codes: ['1178', '1196', '1235', '1289'], kind: 'unsupported', meaning: 'a feature that the server does not have' },
  {
    codes: ['1026', '1030', '1033', '1034', '1035', '1194', '1195', '1712', '1815', '1877'],
    kind: 'internal',
    meaning: 'a damaged table or index, an inconsistency in the server',
  },
]
